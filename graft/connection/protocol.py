"""A client's connection: bytes to requests, and their responses back, one after the other. (loop)

The class that speaks HTTP is a setting of Uvicorn's (``config.http``). This one answers as Uvicorn's own does; what
differs:

- What is no request is never run (request_parser.py).
- Nothing is lost when a worker leaves. A proxy may have opened a connection a millisecond ago, or be writing into one
  that it kept: a quiet connection stays open for a last call, and what comes is answered, with ``Connection: close``.
- A response is one write, and a connection has one timer.
- Whoever keeps it waiting is ended (limits.py): slow heads and bodies, and readers that stop.

A request is answered by a ``Cycle``. What else may answer one has to have the attributes and methods of a cycle that
are used here: ``body``, ``end``, ``disconnect``, ``buffered``, ``more_body``, ``owes_continue``, ``started``,
``complete`` and ``keep_alive``; it calls ``goes_on`` before its head is written, and ``finished`` at its end.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from typing import Any

from graft.connection import limits
from graft.connection.cycle import Cycle
from graft.connection.deadlines import Deadline
from graft.connection.file_transfer import can_send_files
from graft.connection.head import OwnHeaders, status_line
from graft.connection.request_parser import Refused, RequestParser
from graft.connection.unread import Unread
from graft.connection.uvicorn_private import State, get_local_addr, get_remote_addr, is_ssl, server_of
from graft.connection.websocket import WebSocketConnection, websocket_scope
from graft.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("uvicorn.error")


class Connection(asyncio.Protocol):
    """One connection, from its first byte to its last."""

    def __init__(
        self,
        config: Any,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.server = server_of(config, server_state, app_state)
        self._state = server_state
        self.tasks = server_state.tasks
        self.loop = _loop or asyncio.get_event_loop()
        self.done = self.server.done(self.loop)
        self.access_log = _access_log.isEnabledFor(logging.INFO) and _access_log.hasHandlers()
        self._deadline = Deadline(self.loop)
        self._deaf = False  # nothing that comes from now on is looked at
        self._active: Cycle | None = None  # which is answered
        self._queue: deque[Cycle] = deque()  # which came behind it
        self._refusal = b""  # goes out behind all of them, and ends the connection
        self._quiet = False  # between two requests
        self._read_paused = False
        self._was_paused = False
        self._progress = 0  # bytes of a body since its deadline was set
        self._discarded = 0
        self._half_closed = False
        self._closing = False

    # -- The transport's calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._state.connections.add(self)
        self.sends_files = can_send_files(transport)
        self._is_tls = is_ssl(transport)
        scheme = "https" if self._is_tls else "http"
        self._parser = RequestParser(self, get_local_addr(transport), get_remote_addr(transport), scheme)
        self.unread = Unread(transport, self.loop, self.abort)  # close() would wait for it, which is to say for ever
        self.context = contextvars.copy_context()
        self.express = self.server.express()
        self._quiet = True
        if self.server.leaving:  # it was accepted in the last moment, and announced only now
            self._deadline.set(limits.LAST_CALL, self._close)
        else:
            self._deadline.set(max(self.server.keep_alive, limits.HEAD_PATIENCE), self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._deaf = True
        self._deadline.end()
        self._parser.end()
        if self._active is not None:
            self._active.disconnect()
        self._queue.clear()
        self.unread.end()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._quiet:
            self._quiet = False
            self._deadline.due = 0.0  # no call of clear(): this is on every request's way
        try:
            if len(data) <= limits.SLICE:
                if not self._parser.feed(data):
                    self._deaf = True
            else:
                view = memoryview(data)
                for at in range(0, len(view), limits.SLICE):
                    if not self._parser.feed(view[at : at + limits.SLICE]):
                        self._deaf = True
                        break
        except Refused as refused:
            self._refuse(refused)
        if self._active is None:
            self._go_on()
        elif self._queue or self._parser.handshake is not None:
            self.regulate()

    def eof_received(self) -> bool:
        """True: our half stays open, for an answer that is still to come. Else the transport closes itself."""
        if self._active is None or self._active.started or self._parser.reading is not None or self._is_tls:
            return False
        self._half_closed = self._deaf = True
        self._deadline.set(limits.HALF_CLOSED, self._close)
        return True

    def pause_writing(self) -> None:
        self.unread.pause()

    def resume_writing(self) -> None:
        self.unread.resume(watch_on=self._closing)

    # -- The parser's calls --------------------------------------------------------------------------------------------

    def request(self, scope: Scope, keep_alive: bool, expects_continue: bool, is_plain: bool, has_x: bool) -> Cycle:
        """The head of a request has come. Its answer begins when what came before it is answered."""
        app: ASGIApp = _unavailable if self.server.limit is not None and self.server.full() else self.server.app
        cycle = Cycle(self, scope, app, keep_alive, expects_continue, is_plain, has_x)
        self._queue.append(cycle)
        return cycle

    def body(self, cycle: Cycle, data: bytes) -> None:
        """A part of its body has come."""
        self._progress += len(data)
        if not cycle.complete:
            cycle.body(data)
            if cycle.buffered > limits.BUFFERED:
                self.regulate()
        else:
            self._discarded += len(data)

    # -- Requests to responses -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Nothing is answered: begin with the next request, or see what the connection waits for."""
        if self._closing:
            return
        if self._queue:
            self._active = cycle = self._queue.popleft()
            cycle.begin()
            if self._parser.reading is cycle:
                self._expect_body()
            else:
                self._deadline.due = 0.0
            if (
                self._queue
                or self._parser.handshake is not None
                or self._read_paused
                or cycle.buffered > limits.BUFFERED
            ):
                self.regulate()
        elif self._refusal:
            self.transport.write(self._refusal)
            self._close(linger=True)
        elif self._parser.handshake is not None:
            self._hand_over(*self._parser.handshake)
        elif self._half_closed:
            self._close()
        elif self._parser.reading is not None:  # the rest of a body whose request was answered
            if self._discarded > limits.DISCARDED:
                self._close(linger=True)
            elif self._read_paused:
                self.regulate()
        elif self._parser.last:
            self._close()
        elif self._parser.in_head or self._parser.overhead:
            if not self._deadline.running:
                self._deadline.set(limits.HEAD_PATIENCE, self._head_is_late)
            if self._read_paused:
                self.regulate()
        else:
            if self._read_paused:
                self.regulate()
            self._be_quiet()

    def _be_quiet(self) -> None:
        """Wait for the next request."""
        self._quiet = True
        self._deadline.set(limits.LAST_CALL if self.server.leaving else self.server.keep_alive, self._close)

    def goes_on(self) -> bool:
        """May the response that starts now leave the connection open?"""
        return not self.server.leaving or bool(self._queue)

    def finished(self, cycle: Cycle) -> None:
        """The response of ``cycle`` is complete."""
        self._state.total_requests += 1
        if cycle is not self._active:
            return
        self._active = None
        if self._closing or self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self._close(linger=self._parser.reading is not None)
        elif self._parser.reading is None and not (
            self._queue or self._parser.in_head or self._deaf or self._read_paused
        ):
            self._be_quiet()  # as _go_on would find out
        else:
            self._go_on()

    def cut(self, cycle: Cycle, *, framed: bool) -> None:
        """The response of ``cycle`` breaks off. Without a frame, only a reset can tell the client."""
        if cycle is self._active and not self._closing:
            if framed:
                self._close()
            else:
                self.abort()

    def own_headers(self, flags: int) -> bytes:
        """The headers that the server sets, as lines."""
        return _own_headers.lines(self._state.default_headers, flags)

    def write(self, data: bytes | memoryview) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def regulate(self) -> None:
        """Read on, unless what is there already has to be worked off first."""
        active = self._active
        pause = active is not None and (
            bool(self._queue) or self._parser.handshake is not None or active.buffered > limits.BUFFERED
        )
        if pause is not self._read_paused:
            self._read_paused = pause
            self._was_paused = True
            if pause:
                self.transport.pause_reading()
            elif not self.transport.is_closing():
                self.transport.resume_reading()

    def _hand_over(self, handshake: bytes, rest: bytes) -> None:
        """The connection is a WebSocket's from now on."""
        self.regulate()
        self._state.connections.discard(self)
        self._deadline.end()
        scope = websocket_scope(self._parser.websocket_scope())
        self._parser.end()
        self._closing = self._deaf = True
        WebSocketConnection(self.server, self.transport, scope, handshake, rest).begin()

    # -- The end -------------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """The server leaves. (called by Uvicorn)"""
        self.server.leaving = True
        if self._quiet:
            self._deadline.set(limits.LAST_CALL, self._close)

    def _refuse(self, refused: Refused) -> None:
        """What came is no request, nor is what follows. The requests before it are answered first."""
        log.warning("Invalid HTTP request received.")
        self._deaf = True
        self._parser.handshake = None
        status, text = refused.args
        lines = (
            status_line(status)
            + _own_headers.lines(self._state.default_headers)
            + b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d" % len(text)
            + b"\r\nconnection: close\r\n\r\n"
        )
        self._refusal = lines + text
        broken, self._parser.reading = self._parser.reading, None
        if broken is None:
            return
        if broken.complete:  # it has its answer; another one could be taken for that of the next request
            self._refusal = b""
            self._close(linger=True)
            return
        if broken is not self._active:
            if broken in self._queue:
                self._queue.remove(broken)  # not begun, and it never will be
            return
        if broken.started:
            self.abort()
        broken.disconnect()
        self._active = None

    def _expect_body(self) -> None:
        self._progress, self._was_paused = 0, self._read_paused
        self._deadline.set(limits.BODY_PATIENCE, self._body_is_late)

    def _body_is_late(self) -> None:
        if self._parser.reading is None:
            return
        if self._progress >= limits.BODY_PROGRESS or self._was_paused:
            self._expect_body()
            return
        self._refuse(Refused(408, b"The request took too long."))
        if self._active is None and not self._closing:
            self._go_on()

    def _head_is_late(self) -> None:
        if self._parser.in_head:
            self._refuse(Refused(408, b"The request took too long."))
            self._go_on()
        else:  # line breaks, and no request: an answer could be taken for that of the next one
            self._close()

    def _close(self, linger: bool = False) -> None:
        """End the connection when what was written has been read; those who read nothing are cut off."""
        if self._active is not None:
            self._active.disconnect()
        self._closing = self._deaf = True
        transport = self.transport
        if transport.is_closing():
            return
        self.unread.watch()
        if linger and not self._half_closed and transport.can_write_eof():
            transport.write_eof()
            if self._read_paused:
                self._read_paused = False
                transport.resume_reading()
            self._deadline.set(limits.LINGER, self._close)
        else:
            transport.close()

    def abort(self) -> None:
        """End the connection with a reset, whatever is still to be read."""
        self._closing = self._deaf = True
        if self._active is not None:
            self._active.disconnect()
        self.transport.abort()


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    """Uvicorn's answer above ``--limit-concurrency``."""
    log.warning("Exceeded concurrency limit.")
    text = b"Service Unavailable"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)),
               (b"connection", b"close")]  # fmt: skip
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text})


_access_log = logging.getLogger("uvicorn.access")
_own_headers = OwnHeaders()
