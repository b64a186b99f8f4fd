"""A connection from its WebSocket handshake on: it becomes Uvicorn's, or a socket of who asks for it. (loop)

The ASGI app decides. As soon as it accepts or closes the WebSocket, Uvicorn's protocol has the connection, and the app
speaks with that. Before, it may answer with ``websocket.http.response``, or take the socket: the scope's
``extensions["graft.socket"]`` is a coroutine function that gives a ClientSocket. From then on the loop does not touch
the connection. What the app's thread sends and receives goes through no other hands, so compression, sub-protocols,
pings and close codes are the app's own, and so is back pressure. Where that can't be (TLS, which the loop speaks; a
system without ``dup`` for sockets; bytes that came behind the handshake) it is one end of a pair, and the loop carries
the bytes, each way no more than a buffer ahead of who reads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress

from graft.connection.client_socket import ClientSocket, Shared
from graft.connection.frame_gate import FrameGate
from graft.connection.head import CLOSE, OwnHeaders, collect, status_line
from graft.connection.uvicorn_private import Server, is_ssl
from graft.types import Message, Receive, Scope, Send

log = logging.getLogger("uvicorn.error")

SOCKET = "graft.socket"
"""In ``scope["extensions"]``."""

GOING_AWAY = 1012
"""RFC 6455's registry: "Service Restart". Clients connect again."""

BLOCK = 64 * 1024
"""Bytes that are carried at a time, and that may wait for a reader."""

LINGER = 5.0
"""Seconds in which a client may read what was sent to its end, before the connection is cut."""

END_PATIENCE = 1.5
"""Seconds for the app to answer a close frame when the server leaves."""

ANSWER, LOOK = 0.5, 0.01
"""Seconds that this answer may come after the end of the view; seconds between two looks."""

WAKING = 0.1
"""Of those, seconds for a thread that waits in ``recv`` to find the frame."""


def websocket_scope(http: Scope) -> Scope:
    """``http`` is the handshake's scope as a request."""
    scope = {key: value for key, value in http.items() if key != "method"}
    offered = [value.decode("latin-1") for name, value in http["headers"] if name == b"sec-websocket-protocol"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if http["scheme"] == "https" else "ws"
    scope["subprotocols"] = [name.strip() for name in ",".join(offered).split(",") if name.strip()]
    scope["extensions"] = {"websocket.http.response": {}}
    return scope


class WebSocketConnection:
    """Stands among the server's connections until it is over."""

    def __init__(
        self, server: Server, transport: asyncio.Transport, scope: Scope, handshake: bytes, rest: bytes
    ) -> None:
        """``handshake`` are the bytes that ``scope`` was read from, ``rest`` what came behind them."""
        self._server = server
        self._transport = transport
        self._handshake = handshake
        self._rest = rest
        self._scope = scope
        scope["extensions"][SOCKET] = self.take
        self._socket: ClientSocket | None = None
        self._carriers: list[asyncio.Task[None]] = []  # to the app, and from it
        self._to_app: asyncio.StreamWriter | None = None
        self._asgi: tuple[Receive, Send] | None = None  # of Uvicorn's protocol
        self._gate: FrameGate | None = None
        self._app_ended: asyncio.Future[None] | None = None
        self._connected = False  # the app was told of the handshake
        self._answered = False  # with HTTP
        self._hanging_up: asyncio.Task[None] | None = None

    def begin(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        transport, state = self._transport, self._server.state
        self._reader = asyncio.StreamReader(BLOCK, loop)
        protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        transport.pause_reading()
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        state.connections.add(self)
        self._task = loop.create_task(self._run())
        state.tasks.add(self._task)
        self._task.add_done_callback(state.tasks.discard)

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            await self._server.app(self._scope, self.receive, self.send)
        except _NotOpened:
            pass
        except BaseException as raised:
            error = raised
        if self._app_ended is not None:  # Uvicorn's protocol has the connection, and says what there is to be said
            if error is None:
                self._app_ended.set_result(None)
            else:
                self._app_ended.set_exception(error)
            return
        if error is not None:
            log.error("Exception in ASGI application\n", exc_info=error)
        try:
            if not self._answered and not (self._socket is not None and self._socket.shared.sent):
                await self._answer_error()
        finally:
            await self.hang_up()

    # -- A WebSocket of ASGI messages ----------------------------------------------------------------------------------

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        receive, _ = self._asgi or await self._open()
        return await receive()

    async def send(self, message: Message) -> None:
        if self._asgi is None and message["type"].startswith("websocket.http.response."):
            await self._send_http(message)
        else:
            _, send = self._asgi or await self._open()
            await send(message)
            if message["type"] == "websocket.accept" and self._gate is not None:
                self._gate.open()
                self._gate = None

    async def _open(self) -> tuple[Receive, Send]:
        """Give the connection to Uvicorn's protocol, whose app is a stand-in: it waits for the end of the real one."""
        assert self._socket is None, "the app has taken the socket"
        assert not self._answered, "the handshake was answered"
        opened: asyncio.Future[tuple[Receive, Send]] = self._loop.create_future()
        ended = self._app_ended = self._loop.create_future()

        async def stand_in(scope: Scope, receive: Receive, send: Send) -> None:
            opened.set_result((receive, send))
            await ended

        self._server.state.connections.discard(self)
        self._gate = self._server.websocket(stand_in, self._transport, self._handshake, self._rest)
        self._transport.resume_reading()
        while not opened.done():
            await asyncio.wait([opened], timeout=0.1)
            if not opened.done() and self._transport.is_closing():  # it has refused the handshake by itself
                ended.cancel()
                self._app_ended = None
                self._answered = True
                raise _NotOpened
        self._asgi = opened.result()
        await self._asgi[0]()  # websocket.connect, which the app has received already
        return self._asgi

    # -- The socket ----------------------------------------------------------------------------------------------------

    async def take(self) -> ClientSocket:
        """The connection, as a blocking socket for other threads. Once."""
        assert self._socket is None, "once"
        assert self._app_ended is None, "before any message"
        if self._rest or os.name != "posix" or is_ssl(self._transport):
            made = self._socket = await self._pair()
        else:
            made = self._socket = ClientSocket(fileno=os.dup(self._descriptor))
            made.settimeout(None)  # and so is the transport's: it reads and writes nothing until hang_up
        made.shared.on_close = self._closed_by_app
        if os.name == "posix" and made.family == socket.AF_UNIX:  # on TCP what a client sends to a shut end is dropped
            made.shared.last_call = self._server.last_call
        self._server.ends_later(self, self._task)
        return made

    async def _pair(self) -> ClientSocket:
        ours, theirs = socket.socketpair()
        made = ClientSocket(fileno=theirs.detach())
        made.settimeout(None)
        made.shared.peer, made.shared.name = self._scope["client"], self._scope["server"]
        reader, self._to_app = await asyncio.open_connection(sock=ours, limit=BLOCK)
        if self._rest:
            self._reader.feed_data(self._rest)
        self._transport.resume_reading()
        self._carriers = [
            self._loop.create_task(carry(self._reader, self._to_app)),
            self._loop.create_task(carry(reader, self._writer)),
        ]
        return made

    @property
    def _descriptor(self) -> int:
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def _closed_by_app(self) -> None:
        """(thread of the app)"""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._start_hanging_up)

    def _start_hanging_up(self) -> None:
        assert self._socket is not None
        if self._hanging_up is None and self._socket.shared.sent:
            self._hanging_up = self._loop.create_task(self._hang_up())

    def shutdown(self) -> None:
        """The server leaves. (called by Uvicorn)"""
        if self._socket is not None and self._socket.shared.sent and self._hanging_up is None:
            self._socket.announce_end(GOING_AWAY)
            if self._socket.shared.last_call is not None:
                self._socket.shared.last_call.ring()
            self._loop.call_later(WAKING, self._end_politely, self._loop.time() + END_PATIENCE)

    def _end_politely(self, until: float) -> None:
        assert self._socket is not None
        if self._hanging_up is not None:
            return
        if self._socket.end(GOING_AWAY):
            self._loop.call_at(until, self._start_hanging_up)
        elif self._loop.time() < until:
            self._loop.call_later(0.05, self._end_politely, until)
        else:
            self._start_hanging_up()

    async def hang_up(self) -> None:
        """End the connection when the client has read what was sent, or after a while. Once, whoever asks first."""
        if self._hanging_up is None:
            self._hanging_up = self._loop.create_task(self._hang_up())
        await asyncio.shield(self._hanging_up)

    async def _hang_up(self) -> None:
        transport, made = self._transport, self._socket
        try:
            if made is not None and made.shared.ended:
                await _answered(made.shared)
            async with asyncio.timeout(LINGER):
                if self._carriers:
                    if made is not None and made.fileno() != -1:
                        with suppress(OSError):
                            made.shutdown(socket.SHUT_WR)
                    await asyncio.wait([self._carriers[1]])
                elif made is not None and not transport.is_closing():
                    os.set_blocking(self._descriptor, False)
                if transport.can_write_eof() and not transport.is_closing():
                    with suppress(OSError, RuntimeError):
                        self._writer.write_eof()
                    transport.resume_reading()
                    while await self._reader.read(BLOCK):
                        pass
        except (TimeoutError, OSError, RuntimeError):
            pass
        finally:
            for carrier in self._carriers:
                carrier.cancel()
            if self._to_app is not None:
                self._to_app.close()
            if made is not None:
                made.shared.on_close = None
                with suppress(OSError):
                    made.shutdown(socket.SHUT_RDWR)  # a thread that waits in it is let go
                made.close()
                if made.shared.on_over is not None:
                    made.shared.on_over()
            if transport.get_write_buffer_size():
                transport.abort()
            else:
                transport.close()
            self._server.state.connections.discard(self)

    # -- An answer of HTTP ---------------------------------------------------------------------------------------------

    async def _send_http(self, message: Message) -> None:
        if message["type"] == "websocket.http.response.start":
            assert not self._answered, "there is one response"
            self._answered = True
            if self._socket is not None and not self._carriers:
                os.set_blocking(self._descriptor, False)
            lines = [status_line(message["status"]), b""]
            _, flags = collect(lines, message.get("headers", ()))
            lines[1] = _own_headers.lines(self._server.state.default_headers, flags)
            if not flags & CLOSE:
                lines.append(b"\r\nconnection: close")
            self._writer.write(b"".join((*lines, b"\r\n\r\n")))
        elif message.get("body"):
            self._writer.write(message["body"])
        with suppress(ConnectionError):
            await self._writer.drain()

    async def _answer_error(self) -> None:
        text = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        await self._send_http({"type": "websocket.http.response.start", "status": 500, "headers": headers})
        await self._send_http({"type": "websocket.http.response.body", "body": text})


class _NotOpened(Exception):
    """Uvicorn's protocol has answered the handshake without the app."""


async def _answered(shared: Shared) -> None:
    """Wait for the answer to our close frame.

    simple-websocket wakes the view first and answers then, so the view may be over before.
    """
    for _ in range(round(ANSWER / LOOK)):
        if shared.end_answered:
            return
        await asyncio.sleep(LOOK)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from one end to the other, to the end of either; one block is read when the one before it has gone."""
    try:
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (OSError, RuntimeError):
        writer.transport.abort()


_own_headers = OwnHeaders()
