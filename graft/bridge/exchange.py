"""One request of the mount, seen from the loop: body in, response out, and all the ways in which it may end early."""

from __future__ import annotations

import asyncio
import io
import logging

from graft.bridge.body_errors import BodyIncomplete, BodyTooLarge, ClientGone
from graft.bridge.body_headers import body_headers
from graft.bridge.environ import Environ, build_environ
from graft.bridge.limits import Limits
from graft.bridge.refused import Refused, too_large
from graft.bridge.request_body import IN_ENVIRON, RequestBody
from graft.bridge.wsgi_call import WSGIApp, WSGICall
from graft.connection.file_transfer import FileTooShort, file_sender
from graft.error_answers import ErrorAnswer
from graft.errors import GraftError
from graft.request_record import RequestRecord
from graft.threads.pool import Pool, PoolFull
from graft.threads.work_timeout import WorkTimeout
from graft.types import Message, Receive, Scope, Send

log = logging.getLogger("graft.legacy")

# A body up to this size, in bytes, is read before a thread is asked for: a slow sender costs none.
SMALL_BODY = 256 * 1024
# After so many seconds in the queue, or in an async view, it is worth to watch whether the client is still there.
WATCH_AFTER = 0.1


class BrokenAnswer(GraftError):
    """The answer broke off after its first byte: raised to the server, which cuts the connection."""


def full() -> ErrorAnswer:
    """The answer where neither a thread nor a place in the queue is left."""
    return ErrorAnswer(503, "legacy_full", "All workers are busy. Try again in a moment.", {"retry-after": "1"})


class _ClientLeft(Exception):
    """There is nobody to answer."""


class Exchange:
    """The way of one request through a worker thread. All of it runs on the loop."""

    def __init__(self, pool: Pool, limits: Limits, scope: Scope, receive: Receive, send: Send) -> None:
        self._pool = pool
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._call: WSGICall | None = None
        self._body: RequestBody | None = None  # of a body that is received while the view runs
        self._receiver: asyncio.Task[None] | None = None
        self._body_complete = False  # the server has said that no more of the body comes
        self._watch_timer: asyncio.TimerHandle | None = None
        self._over = False

    async def run(self, app: WSGIApp, call: WSGICall | None = None, waited: float = 0.0) -> None:
        """Answer the request. Raises BrokenAnswer when that fails after the first byte, and what ``send`` raises.

        ``call`` is one that express.py has begun ``waited`` seconds ago, with all of the body.
        """
        try:
            await (self._answer(app) if call is None else self._take_over(call, waited))
        except Refused as refused:
            await refused.answer(self._scope, self._receive, self._send)
        except PoolFull:
            await full()(self._scope, self._receive, self._send)
        except _ClientLeft:
            RequestRecord.of(self._scope).client_left = True

    async def _answer(self, app: WSGIApp) -> None:
        pool = self._pool
        pool.admit()  # what will find no thread is refused before its body is read
        environ = build_environ(self._scope)
        environ["wsgi.input"] = await self._open_body(environ)
        call = self._call = WSGICall(app, environ, pool.scheduler(), self._limits.window, self._watch_soon)
        await self._respond(call)

    async def _take_over(self, call: WSGICall, waited: float) -> None:
        self._call = call
        self._body_complete = True
        call.on_wait = self._watch_soon  # before the look: see waits_for
        if call.is_waiting():
            self._watch_client()
        await self._respond(call, waited)

    async def _respond(self, call: WSGICall, waited: float | None = None) -> None:
        """Send what the call gives. It has been submitted ``waited`` seconds ago, or is yet to be."""
        channel, send = call.channel, self._send
        send_file = file_sender(send)
        try:
            if waited is None:
                call.sends_files = send_file is not None
                self._pool.submit(call)
                if self._body is not None:
                    self._watch_client()

            # The head: from now on no other answer can be given.
            await self._wait_for_head(call, waited or 0.0)
            if channel.abandoned:
                raise _ClientLeft
            if self._body is not None and isinstance(self._body.error, BodyTooLarge):
                raise too_large(self._limits.max_body)
            if channel.failure is not None and not channel.is_short:
                raise Refused(500, "legacy_error", "The application could not answer this request.")
            assert channel.head is not None
            if channel.ended:
                await send(channel.head)
            else:
                self._watch_client()
                await self._send_in_time(channel.head)

            # The body: a file, or part by part; the last one says that it is the last.
            while channel.file is None:
                ended = channel.ended  # looked at before the chunks: what was put before the end is found below
                if channel.abandoned:
                    raise _ClientLeft
                part = channel.take()
                if ended and not channel.chunks and channel.failure is None:
                    await send({"type": "http.response.body", "body": part})
                    break
                if part:
                    await self._send_in_time({"type": "http.response.body", "body": part, "more_body": True})
                elif ended:
                    raise BrokenAnswer(f"{call.name} broke off after its first byte: {channel.failure}")
                else:
                    await channel.wait()

            if channel.file is not None and send_file is not None:
                file = channel.file
                try:
                    await send_file(file.descriptor, file.offset, file.count)
                except FileTooShort as error:
                    raise BrokenAnswer(f"{call.name} broke off after its first byte: {error}") from None

            await channel.wait_for_app_close()
        except BaseException as error:
            if call.rule is None:
                call.rule = call.current_rule  # a view that runs has not answered, but Flask has found it
            if isinstance(error, (Refused, asyncio.CancelledError)):
                call.cancel()
            else:
                call.abandon()
            self._pool.discard(call)
            raise
        finally:
            self._over = True
            call.release()
            if channel.file is not None:
                channel.file.close()
            if self._watch_timer is not None:
                self._watch_timer.cancel()
            if self._receiver is not None:
                self._receiver.cancel()
                self._receiver = None  # its error has its frame, which has this object: that would be a cycle
            if self._body is not None:
                self._body.close()
            if call.rule is not None:
                RequestRecord.of(self._scope).legacy_rule = call.rule  # for the access record

    async def _open_body(self, environ: Environ) -> io.BytesIO | io.BufferedReader:
        """``wsgi.input``: read already when that is sure to be quick, else a stream that is received while it is read.

        A client that waits to be told to send its body is told by the view's first read.
        """
        headers = body_headers(self._scope, self._limits.max_body)
        if headers is None:
            return io.BytesIO()
        length, waits = headers
        first: Message | None = None
        is_small = not waits and length is not None and length <= SMALL_BODY
        # Of a body without a length the first message alone: the client may wait for our answer before it goes on.
        if is_small or (length is None and not waits):
            first = await self._receive()
            content: bytes = first.get("body", b"")
            if len(content) == length and not first.get("more_body", False):
                self._body_complete = True
                return io.BytesIO(content)  # nearly every body
        body = RequestBody(
            self._receive,
            length=length,
            limit=self._limits.max_body,
            stall_timeout=self._limits.stall_timeout,
            client_waits=waits,
            post=self._pool.scheduler().post,
            on_demand=self._start_receiving if waits else None,
        )
        if first is not None:
            body.append(first)
            if is_small or body.ended:
                try:
                    return io.BytesIO(await body.content())
                except ClientGone:
                    raise _ClientLeft from None
                except BodyTooLarge:
                    raise too_large(self._limits.max_body) from None
                except BodyIncomplete as error:
                    raise Refused(400, "bad_request", str(error.description)) from None
                finally:
                    self._body_complete = body.complete
        self._body = environ[IN_ENVIRON] = body
        return body.open()

    async def _wait_for_head(self, call: WSGICall, waited: float) -> None:
        """Raises Refused (504) after the timeout. The thread can't be stopped: it counts as stuck until it is back."""
        channel, timeout = call.channel, self._limits.timeout
        if timeout is None:
            return await channel.wait()
        try:
            async with WorkTimeout(timeout - waited, self._body):
                return await channel.wait()
        except TimeoutError:
            if channel.begun:
                return  # it came in the last moment
        RequestRecord.of(self._scope).legacy_rule = call.current_rule
        if self._pool.discard(call):
            log.error("%s found no free thread within %s s", call.name, timeout)
        else:
            call.overdue = True
            log.error("%s (%s) gave no answer within %s s; %s", call.name, call.view, timeout, call.describe_thread())
        raise Refused(504, "legacy_timeout", f"The application gave no answer within {timeout:g} seconds.")

    async def _send_in_time(self, message: Message) -> None:
        """Send while a thread waits for its place in the window: the client may not take for ever."""
        assert self._call is not None
        try:
            async with asyncio.timeout(self._limits.stall_timeout):
                await self._send(message)
        except TimeoutError:
            log.warning("%s: the client has read nothing for %s s", self._call.name, self._limits.stall_timeout)
            raise BrokenAnswer(f"{self._call.name}: the client stopped reading") from None

    # Receiving while the view works: the body if it streams, then the client's leaving.

    def _watch_soon(self) -> None:
        """The call waits, for a thread or for a coroutine: if that takes long, see whether the client does, too."""
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        loop = asyncio.get_running_loop()
        self._watch_timer = loop.call_later(WATCH_AFTER, self._watch_while_waiting)

    def _watch_while_waiting(self) -> None:
        if self._call is not None and self._call.is_waiting():
            self._watch_client()

    def _watch_client(self) -> None:
        """Begin to receive, unless that would tell a client to send a body that nobody has asked for yet."""
        if self._body is None or not self._body.client_waits or (self._call is not None and self._call.channel.begun):
            self._start_receiving()

    def _start_receiving(self) -> None:
        if self._receiver is None and not self._over:
            self._receiver = asyncio.get_running_loop().create_task(self._receive_all())

    async def _receive_all(self) -> None:
        call, body = self._call, self._body
        assert call is not None
        has_left = False
        try:
            if body is not None:
                await body.receive_ahead(may_drop=lambda: call.channel.begun)
                self._body_complete = body.complete
                has_left = isinstance(body.error, ClientGone)
            while not has_left:
                message = await self._receive()
                has_left = message["type"] != "http.request"
                if not has_left:
                    if self._body_complete:
                        return  # the server only repeats the end of the body, it would do so for ever
                    self._body_complete = not message.get("more_body", False)
        except Exception:
            log.exception("%s could not be received", call.name)
        if body is not None:
            body.end(ClientGone())
        call.abandon()
