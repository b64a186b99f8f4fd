"""A client's connection: bytes to requests, and their responses back, one after the other. (loop)

The class that speaks HTTP is a setting of Uvicorn's (``config.http``). This one is on httptools, as Uvicorn's own is,
and answers the same; what differs:

- No byte of a body is taken for a request (upgrades.py), and nothing is run after what can not be parsed, after
  ``Connection: close`` and after a request of HTTP/1.0.
- Nothing is lost when a worker leaves. A proxy may have opened a connection a millisecond ago, or be writing into one
  that it kept: a quiet connection stays open for a last call, and what comes is answered, with ``Connection: close``.
- A response is one write, and a connection has one timer.
- Whoever keeps it waiting is ended: slow heads and bodies, and readers that stop.

A request is answered by a ``Cycle``. What else may answer one has to have the attributes and methods of a cycle that
are used here: ``body``, ``end``, ``disconnect``, ``buffered``, ``more_body``, ``owes_continue``, ``started``,
``complete`` and ``keep_alive``; it calls ``goes_on`` before its head is written, and ``finished`` at its end.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import urllib.parse
from collections import deque
from typing import Any

import httptools

from graft.connection import upgrades
from graft.connection.cycle import Cycle
from graft.connection.deadlines import Deadline
from graft.connection.head import OwnHeaders, status_line
from graft.connection.uvicorn_private import State, get_local_addr, get_remote_addr, is_ssl, server_of
from graft.connection.websocket import WebSocketConnection, websocket_scope
from graft.types import PEER, ASGIApp, Receive, Scope, Send

log = logging.getLogger("uvicorn.error")

LAST_CALL = 0.5
"""Seconds that a quiet connection is kept: more than a proxy on a busy machine needs from connecting to writing."""

HEAD_PATIENCE = 20.0
"""Seconds for the head of a request, from its first byte to its last."""

BODY_PATIENCE = 60.0
"""Seconds in which a body has to make progress, while there is room for it: ``BODY_PROGRESS`` bytes, or its end."""

BODY_PROGRESS = 6000

WRITE_PATIENCE = 60.0
"""Seconds in which a client has to read something of what waits for it."""

LINGER = 5.0
"""Seconds in which what a client still sends is thrown away, after it was told that the connection ends. Closed at
once, the socket would answer with a reset, and the client might lose the response that it has not read yet."""

HALF_CLOSED = 0.5
"""Seconds in which a client that has closed its own half may still get its answer. Most of them have left."""

MOST_HEADERS = 200
"""Of a request. Browsers send 20; each one costs the loop and the app, and 64 KB have room for thousands."""

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's head; also of what stands between the chunks of a body."""

BUFFERED = 64 * 1024
"""Above this, in bytes, a body waits in the socket until the app has received what there is."""

DISCARDED = 16 * 1024 * 1024
"""Up to this, in bytes, the rest of a body is read whose request was answered already, to keep the connection."""

SLICE = 16 * 1024
"""Bytes given to the parser at a time: limits hold within one big segment, too."""


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
        self._stalled: Deadline | None = None  # runs only while a client leaves something unread

        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._in_head = False
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._noted: list[bytes] = []
        self._head_again = False  # the head is parsed for the second time, and nobody is told of it
        self._handshake: tuple[bytes, bytes] | None = None  # of a WebSocket, and what came behind it
        self._overhead = 0  # bytes since the last that belonged to a body
        self._last = False  # the request that is read is the connection's last one
        self._deaf = False  # nothing that comes from now on is looked at

        self._reading: Cycle | None = None  # whose body comes in
        self._active: Cycle | None = None  # which is answered
        self._queue: deque[Cycle] = deque()  # which came behind it
        self._refusal = b""  # goes out behind all of them, and ends the connection

        self._quiet = False  # between two requests
        self._read_paused = False
        self._was_paused = False
        self._progress = 0  # bytes of a body since its deadline was set
        self._discarded = 0
        self.write_paused = False
        self._unread = 0
        self._writable: asyncio.Event | None = None
        self._half_closed = False
        self._closing = False

    # -- The transport's calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._state.connections.add(self)
        self._local = get_local_addr(transport)
        self._remote = get_remote_addr(transport)
        self._scheme = "https" if is_ssl(transport) else "http"
        self.context = contextvars.copy_context()
        self.express = self.server.express()
        self._quiet = True
        if self.server.leaving:  # it was accepted in the last moment, and announced only now
            self._deadline.set(LAST_CALL, self._close)
        else:
            self._deadline.set(max(self.server.keep_alive, HEAD_PATIENCE), self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._deaf = True
        self._deadline.end()
        if self._stalled is not None:
            self._stalled.end()
        self._parser = None
        if self._active is not None:
            self._active.disconnect()
        self._queue.clear()
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._quiet:
            self._quiet = False
            self._deadline.due = 0.0  # no call of clear(): this is on every request's way
        if len(data) <= SLICE:
            self._parse(data)
        else:
            view = memoryview(data)
            for at in range(0, len(view), SLICE):
                self._parse(view[at : at + SLICE])
                if self._deaf:
                    break
        if self._active is None:
            self._go_on()
        elif self._queue or self._handshake is not None:
            self.regulate()

    def eof_received(self) -> bool:
        """True: our half stays open, for an answer that is still to come. Else the transport closes itself."""
        if self._active is None or self._active.started or self._reading is not None or self._scheme == "https":
            return False
        self._half_closed = self._deaf = True
        self._deadline.set(HALF_CLOSED, self._close)
        return True

    def pause_writing(self) -> None:
        self.write_paused = True
        self._watch_reader()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._stalled is not None and not self._closing:
            self._stalled.clear()
        if self._writable is not None:
            self._writable.set()

    # -- Bytes to requests ---------------------------------------------------------------------------------------------

    def _parse(self, data: bytes | memoryview) -> None:
        self._overhead += len(data)
        while data:
            try:
                self._parser.feed_data(data)  # type: ignore[union-attr]
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                if not self._last or self._reading is not None:
                    cause = error.__context__
                    self._refuse(cause if isinstance(cause, _Refused) else _Refused(400, _INVALID))
                self._deaf = True  # behind the last request nothing is looked at
                return
            if self._handshake is not None:
                self._handshake = self._handshake[0], bytes(data)
                self._deaf = True
                return
            # llhttp has skipped the body, and takes what comes next for a new request: see upgrades.py. Uvicorn goes
            # on with this parser. A new one gets the same head without the upgrade, and reads the body.
            data = self._head_once_more() + bytes(data)
        if self._overhead > HEAD_LIMIT:
            if self._in_head:
                self._refuse(_Refused(431, b"Request head too large."))
            else:
                self._refuse(_Refused(400, _INVALID))

    def _head_once_more(self) -> bytes:
        """The head that was read, for a new parser, which tells nobody of it."""
        assert self._reading is not None
        scope = self._reading.scope
        self._parser = httptools.HttpRequestParser(self)
        self._head_again = True
        return upgrades.head(scope["method"].encode("ascii"), self._target, scope["http_version"], scope["headers"])

    def on_message_begin(self) -> None:
        if self._head_again:
            return
        if self._last:
            raise _Refused(400, _INVALID)  # never told: what follows the last request is not looked at
        self._in_head = True
        self._target = b""
        self._headers = []
        self._noted = []

    def on_url(self, url: bytes) -> None:
        if not self._head_again:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which comes too late for whoever decides by headers; or a head parsed again
        name = name.lower()
        self._headers.append((name, value))
        if name in _NOTED or name[:2] == b"x-":
            self._noted.append(name)

    def on_headers_complete(self) -> None:
        self._overhead = 0
        if self._head_again:
            self._head_again = False
            return
        self._in_head = False
        parser, headers = self._parser, self._headers
        assert parser is not None
        method, version = parser.get_method(), parser.get_http_version()
        expects_continue = False
        if len(headers) > MOST_HEADERS:
            raise _Refused(431, b"Too many headers.")
        if version not in ("1.1", "1.0"):
            raise _Refused(505, b"HTTP version not supported.")
        if method == b"CONNECT":
            raise _Refused(400, b"CONNECT is not served.")
        noted = self._noted
        is_plain = noted == _USUAL
        if not is_plain:
            if noted.count(b"host") > 1:
                raise _Refused(400, b"Two hosts.")
            expects_continue = version == "1.1" and b"100-continue" in [
                value.lower() for name, value in headers if name == b"expect"
            ]
            if b"upgrade" in noted:
                websocket = parser.should_upgrade() and self.server.speaks_websocket
                if websocket and upgrades.is_handshake(method, version, headers):
                    self._handshake = upgrades.head(method, self._target, version, headers), b""
                    return
                headers = upgrades.without_upgrade(headers)
        keep_alive = version == "1.1" and parser.should_keep_alive()
        self._last = not keep_alive
        scope = self._scope(_METHODS.get(method) or method.decode("ascii"), version, headers)
        app: ASGIApp = _unavailable if self.server.limit is not None and self.server.full() else self.server.app
        self._reading = cycle = Cycle(self, scope, app, keep_alive, expects_continue, is_plain)
        self._queue.append(cycle)

    def _scope(self, method: str, version: str, headers: list[tuple[bytes, bytes]]) -> Scope:
        target = self._target
        if target[:1] == b"/" and b"#" not in target:
            raw_path, _, query = target.partition(b"?")
        else:
            url = httptools.parse_url(target)
            raw_path, query = url.path or b"/", url.query or b""
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        server = self.server
        if server.root_path:
            path = server.root_path + path
            raw_path = server.root_path.encode("ascii") + raw_path
        return {
            "type": "http",
            "asgi": server.asgi,
            "http_version": version,
            "server": self._local,
            "client": self._remote,
            PEER: self._remote,  # Uvicorn puts what a proxy says in the place of "client"
            "scheme": self._scheme,
            "root_path": server.root_path,
            "headers": headers,
            "state": server.app_state.copy(),
            "method": method,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
        }

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        cycle = self._reading
        if cycle is None:
            raise _Refused(400, _INVALID)
        self._progress += len(body)
        if not cycle.complete:
            cycle.body(body)
            if cycle.buffered > BUFFERED:
                self.regulate()
        else:
            self._discarded += len(body)

    def on_message_complete(self) -> None:
        cycle = self._reading
        if cycle is None or self._parser is None or (self._parser.should_upgrade() and not self._head_again):
            return  # the end of a head whose body is still to be read, or of a handshake
        self._reading = None
        self._overhead = 0
        cycle.end()

    # -- Requests to responses -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Nothing is answered: begin with the next request, or see what the connection waits for."""
        if self._closing:
            return
        if self._queue:
            self._active = cycle = self._queue.popleft()
            cycle.begin()
            if self._reading is cycle:
                self._expect_body()
            else:
                self._deadline.due = 0.0
            if self._queue or self._handshake is not None or self._read_paused or cycle.buffered > BUFFERED:
                self.regulate()
        elif self._refusal:
            self.transport.write(self._refusal)
            self._close(linger=True)
        elif self._handshake is not None:
            self._hand_over(*self._handshake)
        elif self._half_closed:
            self._close()
        elif self._reading is not None:  # the rest of a body whose request was answered
            if self._discarded > DISCARDED:
                self._close(linger=True)
            elif self._read_paused:
                self.regulate()
        elif self._last:
            self._close()
        elif self._in_head or self._overhead:
            if not self._deadline.running:
                self._deadline.set(HEAD_PATIENCE, self._head_is_late)
            if self._read_paused:
                self.regulate()
        else:
            if self._read_paused:
                self.regulate()
            self._be_quiet()

    def _be_quiet(self) -> None:
        """Wait for the next request."""
        self._quiet = True
        self._deadline.set(LAST_CALL if self.server.leaving else self.server.keep_alive, self._close)

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
            self._close(linger=self._reading is not None)
        elif self._reading is None and not (self._queue or self._in_head or self._deaf or self._read_paused):
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

    @property
    def write_patience(self) -> float:
        return WRITE_PATIENCE

    def own_headers(self, flags: int) -> bytes:
        """The headers that the server sets, as lines."""
        return _own_headers.lines(self._state.default_headers, flags)

    def write(self, data: bytes | memoryview) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drain(self) -> None:
        """Return when the client has read enough for more to be written, or is gone."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            self._writable.clear()
            await self._writable.wait()

    def regulate(self) -> None:
        """Read on, unless what is there already has to be worked off first."""
        active = self._active
        pause = active is not None and (bool(self._queue) or self._handshake is not None or active.buffered > BUFFERED)
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
        self._parser = None
        self._closing = self._deaf = True
        scope = websocket_scope(self._scope("GET", "1.1", self._headers))
        WebSocketConnection(self.server, self.transport, scope, handshake, rest).begin()

    # -- The end -------------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """The server leaves. (called by Uvicorn)"""
        self.server.leaving = True
        if self._quiet:
            self._deadline.set(LAST_CALL, self._close)

    def _refuse(self, refused: _Refused) -> None:
        """What came is no request, nor is what follows. The requests before it are answered first."""
        log.warning("Invalid HTTP request received.")
        self._deaf = True
        self._handshake = None
        status, text = refused.args
        lines = (
            status_line(status)
            + _own_headers.lines(self._state.default_headers)
            + b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d" % len(text)
            + b"\r\nconnection: close\r\n\r\n"
        )
        self._refusal = lines + text
        broken, self._reading = self._reading, None
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
        self._deadline.set(BODY_PATIENCE, self._body_is_late)

    def _body_is_late(self) -> None:
        if self._reading is None:
            return
        if self._progress >= BODY_PROGRESS or self._was_paused:
            self._expect_body()
            return
        self._refuse(_Refused(408, b"The request took too long."))
        if self._active is None and not self._closing:
            self._go_on()

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(_Refused(408, b"The request took too long."))
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
        self._watch_reader()
        if linger and not self._half_closed and transport.can_write_eof():
            transport.write_eof()
            if self._read_paused:
                self._read_paused = False
                transport.resume_reading()
            self._deadline.set(LINGER, self._close)
        else:
            transport.close()

    def abort(self) -> None:
        """End the connection with a reset, whatever is still to be read."""
        self._closing = self._deaf = True
        if self._active is not None:
            self._active.disconnect()
        self.transport.abort()

    def _watch_reader(self) -> None:
        """Something waits for the client to read: see to it that it does."""
        self._unread = self.transport.get_write_buffer_size()
        if self._unread:
            if self._stalled is None:
                self._stalled = Deadline(self.loop)
            self._stalled.set(WRITE_PATIENCE, self._reader_is_late)

    def _reader_is_late(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._watch_reader()
        else:
            self.abort()  # close() would wait for the buffer, which is to say for ever


class _Refused(Exception):
    """A request that is not answered by the app: status and text. Raised in the parser's callbacks."""


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    """Uvicorn's answer above ``--limit-concurrency``."""
    log.warning("Exceeded concurrency limit.")
    text = b"Service Unavailable"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)),
               (b"connection", b"close")]  # fmt: skip
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text})


_INVALID = b"Invalid HTTP request received."
_access_log = logging.getLogger("uvicorn.access")
_own_headers = OwnHeaders()
_NOTED = frozenset({b"host", b"expect", b"upgrade", b"content-length", b"transfer-encoding"})
_USUAL = [b"host"]
_METHODS = {name.encode("ascii"): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
