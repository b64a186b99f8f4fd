"""One request of the mount, seen from the loop: body in, answer out, and all the ways in which it may end early."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

from graft.bridge.answer import Answer, WSGIApp
from graft.bridge.body import Body, BodyDropped, BodyTooLarge, ClientGone
from graft.bridge.environ import Environ, build_environ
from graft.error_answers import ErrorAnswer
from graft.errors import GraftError
from graft.request_record import RequestRecord
from graft.threads.pool import Pool, PoolFull
from graft.types import Receive, Scope, Send

log = logging.getLogger("graft.legacy")

# A body up to this size, in bytes, is read before a thread is asked for: a slow sender costs none.
SMALL_BODY = 256 * 1024

_MAY_HAVE_BODY = ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING")
_ENOUGH_SAID = frozenset({"1.0", "1.1"})  # here the headers say whether a body comes
_USUALLY_WITHOUT = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class BrokenAnswer(GraftError):
    """The answer broke off after its first byte: raised to the server, which cuts the connection."""


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.answer = ErrorAnswer(status, code, message, headers)


class _Left(Exception):
    """The client is gone, there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the mount holds to: seconds, bytes; None is off. ``window`` is what a stream may be ahead of its client."""

    timeout: float | None
    max_body: int | None
    stall_timeout: float | None
    window: int


class Exchange:
    """The way of one request through a worker thread."""

    def __init__(self, pool: Pool, limits: Limits, scope: Scope, receive: Receive, send: Send) -> None:
        self._pool = pool
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._answer: Answer | None = None
        self._body: Body | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._too_large = False
        self._body_ended = False
        self._fed = 0

    async def run(self, app: WSGIApp) -> None:
        """Answer the request. Raises BrokenAnswer when that fails after the first byte, and what ``send`` raises."""
        try:
            await self._run(app)
        except _Refused as refused:
            await refused.answer(self._scope, self._receive, self._send)
        except _Left:
            pass

    async def _run(self, app: WSGIApp) -> None:
        self._admit()
        environ = build_environ(self._scope)
        environ["wsgi.input"] = await self._open_body(environ)
        scheduler = self._pool.scheduler()
        answer = self._answer = Answer(app, environ, scheduler, self._limits.window)
        answer.while_away = self._start_receiving
        try:
            self._pool.submit(answer)
        except PoolFull:
            raise _full() from None
        try:
            await self._relay(answer)
        except BaseException:
            answer.hang_up()
            self._pool.discard(answer)
            raise
        finally:
            answer.let_go()
            self._stop_receiving()
            RequestRecord.of(self._scope).legacy_rule = answer.rule  # for the access record

    def _admit(self) -> None:
        """Refuse what will find no thread, before its body is read."""
        try:
            self._pool.admit()
        except PoolFull:
            raise _full() from None

    # The body.

    async def _open_body(self, environ: Environ) -> io.BytesIO | io.BufferedReader:
        """``wsgi.input``: read already when that is sure to be quick, else a stream that the receiver feeds."""
        length = self._declared_length(environ)
        if length == 0 or (length is None and self._has_none(environ)):
            return io.BytesIO()
        if "HTTP_EXPECT" in environ:
            self._wanted = self._pool.scheduler().loop.create_future()
            return self._stream(b"")  # the client waits for a go-ahead, which is the view's to give
        if length is not None and length > SMALL_BODY:
            return self._stream(b"")
        chunk, more = await self._next_chunk(0)
        if more and length is None:
            return self._stream(chunk)  # it may wait for our answer before it sends on
        chunks = [chunk]
        size = len(chunk)
        while more:
            chunk, more = await self._next_chunk(size)
            chunks.append(chunk)
            size += len(chunk)
        return io.BytesIO(b"".join(chunks) if len(chunks) > 1 else chunk)

    def _declared_length(self, environ: Environ) -> int | None:
        declared = environ.get("CONTENT_LENGTH")
        if declared is None or "HTTP_TRANSFER_ENCODING" in environ:
            return None
        if not (declared.isascii() and declared.isdigit()):
            raise _Refused(400, "bad_request", "The Content-Length is no number.")
        limit = self._limits.max_body
        if limit is not None and int(declared) > limit:
            raise _too_large(limit)
        return int(declared)

    def _has_none(self, environ: Environ) -> bool:
        return (
            environ["REQUEST_METHOD"] in _USUALLY_WITHOUT
            and self._scope["http_version"] in _ENOUGH_SAID
            and not any(name in environ for name in _MAY_HAVE_BODY)
        )

    async def _next_chunk(self, so_far: int) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] != "http.request":
            raise _Left
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        self._body_ended = not more
        limit = self._limits.max_body
        if limit is not None and so_far + len(chunk) > limit:
            raise _too_large(limit)
        return chunk, more

    def _stream(self, first: bytes) -> io.BufferedReader:
        body = self._body = Body(self._pool.scheduler().post, self._limits.stall_timeout, self._wanted)
        body.feed(first)
        self._fed = len(first)
        return body.buffered()

    # Receiving while the view works.

    def _start_receiving(self) -> None:
        if self._wanted is not None and self._answer is not None and self._answer.posted and not self._wanted.done():
            self._wanted.set_result(None)
        if self._receiver is None:
            self._receiver = asyncio.get_running_loop().create_task(self._receive_all())

    def _stop_receiving(self) -> None:
        if self._receiver is not None:
            self._receiver.cancel()
        if self._body is not None:
            self._body.end(ClientGone())

    async def _receive_all(self) -> None:
        """Feed the body, then wait for the client to leave."""
        assert self._answer is not None
        try:
            if self._body is not None:
                await self._feed(self._body)
            if not await self._sees_client_leave():
                return
        except _Left:
            pass
        except Exception:
            log.exception("%s could not be received", self._answer.name)
        if self._body is not None:
            self._body.end(ClientGone())
        self._answer.hang_up()

    async def _sees_client_leave(self) -> bool:
        """Wait for the client to leave. False when the server only repeats the end of the body."""
        while (message := await self._receive())["type"] == "http.request":
            if self._body_ended:
                return False
            self._body_ended = not message.get("more_body", False)
        return True

    async def _feed(self, body: Body) -> None:
        if self._wanted is not None:
            await self._wanted
        more = True
        while more:
            if not await self._has_room(body):
                body.end(BodyDropped())
                return
            try:
                chunk, more = await self._next_chunk(self._fed)
            except _Refused:
                self._too_large = True
                body.end(BodyTooLarge())
                return
            self._fed += len(chunk)
            body.feed(chunk)
        body.end()

    async def _has_room(self, body: Body) -> bool:
        """Wait for the view to read on. False when it streams its answer instead: then the client must be watched."""
        assert self._answer is not None
        while body.full:
            try:
                async with asyncio.timeout(self._limits.stall_timeout):
                    await body.room()
            except TimeoutError:
                if self._answer.posted:
                    return False
        return True

    # The answer.

    async def _relay(self, answer: Answer) -> None:
        if self._body is not None:
            self._start_receiving()
        await self._first_news(answer)
        if self._too_large:
            raise _too_large(self._limits.max_body)
        if answer.failed is not None:
            raise _Refused(500, "legacy_error", "The application could not answer this request.")
        assert answer.head is not None
        if answer.finished:
            await self._send(answer.head)
        else:
            self._start_receiving()
            await self._bounded(self._send(answer.head))
        await self._relay_body(answer)
        await answer.has_closed()

    async def _first_news(self, answer: Answer) -> None:
        if self._limits.timeout is None:
            await answer.news()
        else:
            try:
                async with asyncio.timeout(self._limits.timeout):
                    await answer.news()
            except TimeoutError:
                self._give_up(answer)
        if answer.hung_up:
            raise _Left

    async def _relay_body(self, answer: Answer) -> None:
        while True:
            finished = answer.finished
            if answer.hung_up:
                raise _Left
            part = answer.take()
            if finished and answer.failed is not None:
                raise BrokenAnswer(f"{answer.name} broke off after its first byte: {answer.failed}")
            if finished and not answer.chunks:
                await self._send({"type": "http.response.body", "body": part})
                return
            if part:
                await self._bounded(self._send({"type": "http.response.body", "body": part, "more_body": True}))
            else:
                await answer.news()

    async def _bounded(self, sending: Awaitable[None]) -> None:
        """Send while a thread waits for its place in the window: the client may not take for ever."""
        assert self._answer is not None
        try:
            async with asyncio.timeout(self._limits.stall_timeout):
                await sending
        except TimeoutError:
            log.warning("%s: the client has read nothing for %s s", self._answer.name, self._limits.stall_timeout)
            raise BrokenAnswer(f"{self._answer.name}: the client stopped reading") from None

    def _give_up(self, answer: Answer) -> None:
        """Answer 504. The thread can't be stopped: it counts as stuck until it is back."""
        timeout = self._limits.timeout
        if answer.posted:
            return  # it came in the last moment
        if self._pool.discard(answer):
            log.error("%s found no free thread within %s s", answer.name, timeout)
        else:
            answer.overdue = True
            log.error("%s (%s) gave no answer within %s s; %s", answer.name, answer.view, timeout, answer.whereabouts())
        raise _Refused(504, "legacy_timeout", f"The application gave no answer within {timeout:g} seconds.")


def _full() -> _Refused:
    message = "All workers are busy. Try again in a moment."
    return _Refused(503, "legacy_full", message, {"retry-after": "1"})


def _too_large(limit: int | None) -> _Refused:
    return _Refused(413, "body_too_large", f"The body is larger than {limit} bytes.")
