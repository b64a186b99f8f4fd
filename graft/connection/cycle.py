"""One request and its response, as ASGI has them. (loop)

The connection tells a cycle what comes in: ``body``, ``end``, ``disconnect``. The cycle writes what goes out, and tells
the connection when the response is complete: ``finished``. Another way to answer a request has the same four.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable
from contextvars import Context
from typing import TYPE_CHECKING

from graft.connection import limits
from graft.connection.file_transfer import FileTransfer, SendFile, open_file
from graft.connection.head import CHUNKED, CLOSE, STATUS_LINES, head_lines, status_line, without_length
from graft.connection.uvicorn_private import get_client_addr, get_path_with_query_string
from graft.errors import GraftError
from graft.types import ASGIApp, Message, Scope

if TYPE_CHECKING:
    from graft.connection.protocol import Connection

log = logging.getLogger("uvicorn.error")
access_log = logging.getLogger("uvicorn.access")

JOINED = 64 * 1024
"""Up to this size, in bytes, a body is copied behind its head; a bigger one is handed on beside it."""

PIECE = 1024 * 1024
"""A body above this goes out in pieces of this size, as the client reads: no more of it waits in memory."""


class Cycle:
    """``keep_alive``: may another request follow on the connection? It is settled with the response's head.

    ``is_plain``: no header says anything of a body, of proxies, or anything else that only ``X-`` headers say;
    ``has_x``: there are such headers.
    """

    disconnected = False
    started = False
    complete = False
    more_body = True
    buffered = 0
    """Bytes of the body that the app has not received yet."""

    stamp = b""
    """Lines of the response's head behind the app's own."""

    _ended = False  # the app was told that the body is over
    _arrived: asyncio.Event | None = None
    _head = b""  # waits for the body, or for the loop's next turn
    _chunked = False
    _silent = False  # HEAD, 204 and 304: no byte of a body is written
    _left: int | None = None  # bytes that Content-Length still promises; None: until the connection's end
    _transfer: FileTransfer | None = None
    _task: asyncio.Task[None]

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        app: ASGIApp,
        keep_alive: bool,
        expects_continue: bool,
        is_plain: bool,
        has_x: bool,
    ) -> None:
        self._connection = connection
        self.scope = scope
        self._app = app
        self.keep_alive = keep_alive
        self._expects_continue = expects_continue
        self.is_plain = is_plain
        self.has_x = has_x
        self._parts: list[bytes] = []

    # -- What comes in -------------------------------------------------------------------------------------------------

    def body(self, data: bytes) -> None:
        self._parts.append(data)
        self.buffered += len(data)
        if self._arrived is not None:
            self._arrived.set()

    def end(self) -> None:
        """The body is complete."""
        self.more_body = False
        if self._arrived is not None:
            self._arrived.set()

    def disconnect(self) -> None:
        """There is nobody any more who could read the response."""
        self.disconnected = True
        if self._arrived is not None:
            self._arrived.set()
        if self._transfer is not None:
            self._transfer.abort()

    @property
    def owes_continue(self) -> bool:
        """The client may still wait for "100 Continue", and send its body or not."""
        return self._expects_continue and self.more_body

    # -- What the app sees ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have the request answered."""
        way = self._connection.express
        try:
            if way is not None and way.begin(self):
                return
        except Exception:  # before anything was begun: the app meets it, too, and there it is answered and told
            pass
        self.run(self._app, self.context())

    def context(self) -> Context:
        """ContextVars as all requests have them at first: those of the one before it on the connection are not seen."""
        return self._connection.context.copy()

    def run(self, app: ASGIApp, context: Context) -> None:
        """Run ``app`` in a task of its own, which the server waits for when it leaves."""
        connection = self._connection
        self._task = task = connection.loop.create_task(self._run(app, connection.tasks), context=context)
        connection.tasks.add(task)

    async def _run(self, app: ASGIApp, tasks: set[asyncio.Task[None]]) -> None:
        """Call the app. Its errors are logged and answered here; none leaves."""
        try:
            result: object = await app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if result is not None:
                log.error("ASGI callable should return None, but returned '%s'.", result)
                self._fail()
            elif not self.complete and not self.disconnected:
                what = "completing" if self.started else "starting"
                log.error("ASGI callable returned without %s response.", what)
                self._fail()
        except BaseException as error:
            if self.started and isinstance(error, GraftError):
                # On purpose: the answer broke off, or its client reads no more. The app's own error was logged where it
                # was raised, and a client that stops must not be able to fill the log with tracebacks.
                log.warning("%s", error)
            else:
                log.error("Exception in ASGI application\n", exc_info=error)
            self._fail()
        finally:
            tasks.discard(self._task)

    def _fail(self) -> None:
        """500, or where the response has begun, its end in a way that nobody takes for a whole one."""
        if self.complete or self.disconnected:
            return
        if self.started:
            self._flush()
            self._connection.cut(self, framed=self._chunked or self._left is not None)
            return
        text = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)),
                   (b"connection", b"close")]  # fmt: skip
        self._make_head({"type": "http.response.start", "status": 500, "headers": headers})
        self._write_body(text, False)

    async def receive(self) -> Message:
        if self._expects_continue and not self.started:
            self._expects_continue = False
            if self.more_body and not self._parts:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.disconnected and not self.complete:
            if self._parts or not (self.more_body or self._ended):
                return self._take()
            if self._arrived is None:
                self._arrived = asyncio.Event()
            self._arrived.clear()
            await self._arrived.wait()
        return {"type": "http.disconnect"}

    def whole_body(self) -> bytes:
        """All of the body, once it is complete, in place of ``receive``."""
        body: bytes = self._take()["body"]
        return body

    def can_write(self, size: int) -> bool:
        """Whether ``send`` writes a head and so many bytes at once, so that nobody has to await it."""
        return size <= PIECE and not self._connection.unread.paused

    def _take(self) -> Message:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self._ended = not self.more_body
        if self.buffered:
            self.buffered = 0
            self._connection.regulate()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def respond(self, head: Message, body: bytes) -> None:
        """``send`` of a whole response, where ``can_write`` says that it can be written."""
        if not self.disconnected:
            self._make_head(head)
            self._write_body(body, False)

    def send(self, message: Message) -> Awaitable[None]:
        """What was sent is written when this returns, if the client reads; else when what it returns was awaited."""
        connection = self._connection
        if self.disconnected:
            return connection.done
        if connection.unread.paused:
            return self._send_later(message)
        kind = message["type"]
        if not self.started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{kind}'.")
            self._make_head(message)
            connection.server.write_head_soon(self._flush)
            return connection.done
        if self.complete:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent, after response already completed.")
        if kind == "http.response.pathsend" and self.send_file is not None:
            return self._send_path(message["path"])
        if kind != "http.response.body":
            raise RuntimeError(f"Expected ASGI message 'http.response.body', but got '{kind}'.")
        body = message.get("body", b"")
        if len(body) > PIECE and not self._silent:
            return self._write_in_pieces(body, message.get("more_body", False))
        self._write_body(body, message.get("more_body", False))
        return connection.done

    @property
    def sends_files(self) -> bool:
        return self._connection.sends_files

    @property
    def send_file(self) -> SendFile | None:
        """``send`` for a file that is the whole body, where the connection can do it. ``send`` gets the head before."""
        return self._send_file if self._connection.sends_files else None

    async def _send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Return when it is sent, or the client is gone. Raises FileTooShort. It stands still with a client who stops:
        the connection ends that."""
        connection = self._connection
        if self.disconnected:
            return
        if self._chunked:
            raise RuntimeError("A file is sent by a response with a Content-Length.")
        if not self._silent:
            if self._left is not None:
                self._promised(count, False)
            if connection.transport.get_write_buffer_size():
                self._flush()
            head, self._head = self._head, b""
            self._transfer = FileTransfer(connection, limits.WRITE_PATIENCE, connection.abort)
            try:
                sent = await self._transfer.run(head, descriptor, offset, count)
            finally:
                self._transfer = None
            if not sent:
                if not self.disconnected:
                    connection.abort()
                return
        self._flush()
        self._complete()

    async def _send_path(self, path: str) -> None:
        """The file at ``path`` is the whole body."""
        descriptor, content = await self._connection.loop.run_in_executor(None, open_file, path, JOINED)
        try:
            if self.disconnected:
                return
            count = self._left if self._left is not None else os.fstat(descriptor).st_size
            if self._silent or content is None or len(content) < count:
                await self._send_file(descriptor, 0, count)
            elif self._connection.unread.paused:
                await self._send_later({"type": "http.response.body", "body": content[:count]})
            else:
                self._write_body(content[:count], False)
        finally:
            os.close(descriptor)

    async def _send_later(self, message: Message) -> None:
        await self._connection.unread.drain()
        await self.send(message)

    # -- What goes out -------------------------------------------------------------------------------------------------

    def _make_head(self, message: Message) -> None:
        connection, scope = self._connection, self.scope
        status: int = message["status"]
        first = STATUS_LINES.get(status) if "reason" not in message else None
        lines, length, flags = head_lines(message.get("headers", ()))
        if flags & CLOSE or (self._expects_continue and self.more_body):
            # Whether the body that waits for "100 Continue" still comes is unknown; what comes can be either.
            self.keep_alive = False
        elif self.keep_alive:
            self.keep_alive = connection.goes_on()
        end = self.stamp
        if not self.keep_alive and not flags & CLOSE:
            end += b"\r\nconnection: close"
        self._silent = silent = scope["method"] == "HEAD" or status in _SILENT
        if status == 204 or flags & CHUNKED:
            lines = without_length(lines)
            length = None
        framed = length is not None or (silent and not (flags & CHUNKED and status != 204))
        if not framed and scope["http_version"] == "1.1":  # a client of 1.0 reads to the end of the connection
            self._chunked = True
            end += b"\r\ntransfer-encoding: chunked"
        self._left = length
        first = first or status_line(status, message.get("reason"))
        self.started = True
        self._head = b"%b%b%b%b\r\n\r\n" % (first, connection.own_headers(flags), lines, end)
        if connection.access_log:
            access_log.info(
                '%s - "%s %s HTTP/%s" %d',
                get_client_addr(scope),  # type: ignore[arg-type]
                scope["method"],
                get_path_with_query_string(scope),  # type: ignore[arg-type]
                scope["http_version"],
                status,
            )

    def _flush(self) -> None:
        if self._head and not self.disconnected:
            self._connection.write(self._head)
        self._head = b""

    def _write_body(self, body: bytes, more: bool) -> None:
        connection, head = self._connection, self._head
        self._head = b""
        if self._silent:
            body = b""
        elif self._chunked:
            if body:
                head += b"%x\r\n" % len(body)
            end = (b"\r\n" if body else b"") + (b"" if more else b"0\r\n\r\n")
            if len(body) <= JOINED:
                body = b"%b%b" % (body, end)
            else:
                connection.transport.writelines((head, body, end))
                head = body = b""
        elif self._left is not None and (more or self._left != len(body)):
            self._promised(len(body), more)
        if len(body) <= JOINED:
            if head or body:
                connection.transport.write(head + body)
        elif head:
            connection.transport.writelines((head, body))
        else:
            connection.transport.write(body)
        if not more:
            self._complete()

    async def _write_in_pieces(self, body: bytes, more: bool) -> None:
        """A big body, as the client reads it. It stands still with a client who stops: the connection ends that."""
        connection = self._connection
        if self._chunked:
            self._head += b"%x\r\n" % len(body)
        elif self._left is not None:
            self._promised(len(body), more)
        self._flush()
        view = memoryview(body)
        for at in range(0, len(view), PIECE):
            if self.disconnected:
                return
            connection.write(view[at : at + PIECE])
            if connection.unread.paused:
                await connection.unread.drain()
        if self.disconnected:
            return
        if self._chunked:
            connection.write(b"\r\n" if more else b"\r\n0\r\n\r\n")
        if not more:
            self._complete()

    def _promised(self, count: int, more: bool) -> None:
        """Count ``count`` bytes against Content-Length. Raises RuntimeError before a byte too many is written."""
        assert self._left is not None
        if count > self._left:
            raise RuntimeError("Response content longer than Content-Length")
        if not more and count < self._left:
            raise RuntimeError("Response content shorter than Content-Length")
        self._left -= count

    def _complete(self) -> None:
        self.complete = True
        if self._arrived is not None:
            self._arrived.set()
        self._connection.finished(self)


_SILENT = frozenset({204, 304, *range(100, 200)})
