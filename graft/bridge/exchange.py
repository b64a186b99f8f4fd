"""One request of the mount, seen from the loop: body in, answer out, and all the ways in which it may end early."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable

from graft.bridge.answer import Answer, WSGIApp
from graft.bridge.body_errors import BodyIncomplete, BodyTooLarge, ClientGone
from graft.bridge.body_headers import body_headers
from graft.bridge.environ import Environ, build_environ
from graft.bridge.limits import Limits
from graft.bridge.refused import Refused, too_large
from graft.bridge.request_body import IN_ENVIRON, RequestBody
from graft.errors import GraftError
from graft.request_record import RequestRecord
from graft.threads.pool import Pool, PoolFull
from graft.types import Receive, Scope, Send

log = logging.getLogger("graft.legacy")

# A body up to this size, in bytes, is read before a thread is asked for: a slow sender costs none.
SMALL_BODY = 256 * 1024


class BrokenAnswer(GraftError):
    """The answer broke off after its first byte: raised to the server, which cuts the connection."""


class _Left(Exception):
    """The client is gone, there is nobody to answer."""


class Exchange:
    """The way of one request through a worker thread."""

    def __init__(self, pool: Pool, limits: Limits, scope: Scope, receive: Receive, send: Send) -> None:
        self._pool = pool
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._answer: Answer | None = None
        self._body: RequestBody | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._received_end = False  # the server has said that no more of the body comes

    async def run(self, app: WSGIApp) -> None:
        """Answer the request. Raises BrokenAnswer when that fails after the first byte, and what ``send`` raises."""
        try:
            await self._run(app)
        except Refused as refused:
            await refused.answer(self._scope, self._receive, self._send)
        except _Left:
            pass

    async def _run(self, app: WSGIApp) -> None:
        self._admit()
        environ = build_environ(self._scope)
        environ["wsgi.input"] = await self._open_body(environ)
        scheduler = self._pool.scheduler()
        answer = self._answer = Answer(app, environ, scheduler, self._limits.window)
        answer.while_away = self._watch_client
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
        """``wsgi.input``: read already when that is sure to be quick, else a stream that is received while it is read.

        A client that waits to be told to send its body is told by the view's first read.
        """
        headers = body_headers(self._scope, self._limits.max_body)
        if headers is None:
            return io.BytesIO()
        length, waits = headers
        scheduler = self._pool.scheduler()
        body = RequestBody(
            self._receive,
            length=length,
            limit=self._limits.max_body,
            stall_timeout=self._limits.stall_timeout,
            client_waits=waits,
            post=scheduler.post,
            on_demand=self._start_receiving if waits else None,
        )
        if not waits and (length is None or length <= SMALL_BODY):
            if length is None:
                await body.receive_first()  # of a body without a length: its client may wait for our answer to go on
            if length is not None or body.ended:
                return io.BytesIO(await self._content(body))
        self._body = environ[IN_ENVIRON] = body
        return body.open()

    async def _content(self, body: RequestBody) -> bytes:
        try:
            return await body.content()
        except ClientGone:
            raise _Left from None
        except BodyTooLarge:
            raise too_large(self._limits.max_body) from None
        except BodyIncomplete as error:
            raise Refused(400, "bad_request", str(error.description)) from None
        finally:
            self._received_end = body.complete

    # Receiving while the view works.

    def _watch_client(self) -> None:
        """Begin to receive, unless that would tell a client to send a body that nobody has asked for yet."""
        if self._body is None or not self._body.client_waits or (self._answer is not None and self._answer.posted):
            self._start_receiving()

    def _start_receiving(self) -> None:
        if self._receiver is None:
            self._receiver = asyncio.get_running_loop().create_task(self._receive_all())

    def _stop_receiving(self) -> None:
        if self._receiver is not None:
            self._receiver.cancel()
        if self._body is not None:
            self._body.close()

    async def _receive_all(self) -> None:
        """Receive the body, then wait for the client to leave."""
        answer = self._answer
        assert answer is not None
        has_left = False
        try:
            if self._body is not None:
                await self._body.receive_ahead(may_drop=lambda: answer.posted)
                self._received_end = self._body.complete
                has_left = isinstance(self._body.error, ClientGone)
            if not has_left and not await self._sees_client_leave():
                return
        except Exception:
            log.exception("%s could not be received", answer.name)
        if self._body is not None:
            self._body.end(ClientGone())
        answer.hang_up()

    async def _sees_client_leave(self) -> bool:
        """Wait for the client to leave. False when the server only repeats the end of the body."""
        while (message := await self._receive())["type"] == "http.request":
            if self._received_end:
                return False
            self._received_end = not message.get("more_body", False)
        return True

    # The answer.

    async def _relay(self, answer: Answer) -> None:
        if self._body is not None:
            self._watch_client()
        await self._first_news(answer)
        if self._body is not None and isinstance(self._body.error, BodyTooLarge):
            raise too_large(self._limits.max_body)
        if answer.failed is not None:
            raise Refused(500, "legacy_error", "The application could not answer this request.")
        assert answer.head is not None
        if answer.finished:
            await self._send(answer.head)
        else:
            self._watch_client()
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
        raise Refused(504, "legacy_timeout", f"The application gave no answer within {timeout:g} seconds.")


def _full() -> Refused:
    message = "All workers are busy. Try again in a moment."
    return Refused(503, "legacy_full", message, {"retry-after": "1"})
