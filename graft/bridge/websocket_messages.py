"""A WebSocket of ASGI messages, for an app that has a socket: where the server does not hand over its connection.

The app's frames become messages and the other way round, on the loop, with ``websockets`` as the client of the app.
Compression and pings are the server's own then: the app is not offered the one, and its pings are answered here.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from graft.bridge.environ import Environ
from graft.connection.client_socket import ClientSocket
from graft.types import Message, Receive, Scope, Send

BLOCK = 64 * 1024
LINGER = 5.0
"""Seconds for the last messages of a view that has ended."""

_OWN = frozenset({"upgrade", "connection", "content-length", "transfer-encoding", "date", "server"})


class MessageRelay:
    """``open``, then ``close`` when the app's view has ended. Each way one message is under way, and no more than BLOCK
    bytes of it wait in a buffer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._client_gone = False
        self._closed = False
        self._message: list[bytes] = []
        self._is_text = False

    async def open(self, environ: Environ) -> ClientSocket:
        """The app's end; ``environ`` is that of the handshake."""
        await self._receive()  # websocket.connect
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        offered = [Subprotocol(name) for name in self._scope.get("subprotocols", ())]
        self._frames = ClientProtocol(parse_uri("ws://app/"), subprotocols=offered or None, max_size=None)
        # Its request stands in the environ already, but for what some servers keep for themselves (wsproto).
        self._frames.key = environ.setdefault("HTTP_SEC_WEBSOCKET_KEY", self._frames.key)
        if offered:
            environ.setdefault("HTTP_SEC_WEBSOCKET_PROTOCOL", ", ".join(offered))
        environ.setdefault("HTTP_SEC_WEBSOCKET_VERSION", "13")
        environ.setdefault("HTTP_UPGRADE", "websocket")
        environ.setdefault("HTTP_CONNECTION", "Upgrade")
        self._frames.send_request(self._frames.connect())
        self._frames.data_to_send()

        ours, theirs = socket.socketpair()
        self._app = ClientSocket(fileno=theirs.detach())
        self._app.settimeout(None)
        self._app.shared.peer, self._app.shared.name = self._scope.get("client"), self._scope.get("server")
        self._app.shared.on_close = None
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=BLOCK)
        self._from_app = asyncio.create_task(self._carry_from_app())
        self._to_app: asyncio.Task[None] | None = None
        return self._app

    async def close(self) -> None:
        """Send what the app has sent to its end."""
        with suppress(OSError):
            self._app.shutdown(socket.SHUT_WR)
        await asyncio.wait([self._from_app], timeout=LINGER)
        for task in (self._from_app, self._to_app):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._writer.close()
        with suppress(OSError):
            self._app.shutdown(socket.SHUT_RDWR)
        self._app.close()

    # From the app to the client.

    async def _carry_from_app(self) -> None:
        while block := await self._reader.read(BLOCK):
            self._frames.receive_data(block)
            for event in self._frames.events_received():
                await self._carry(event)
            if self._frames.handshake_exc is not None and self._to_app is None:
                return await self._refuse(self._frames.handshake_exc)
            await self._flush()
        if self._to_app is not None:
            await self._close(1011, "")  # it has hung up without a close frame

    async def _carry(self, event: object) -> None:
        if isinstance(event, Response):
            if self._frames.handshake_exc is None:
                await self._accept(event)
        elif isinstance(event, Frame):
            if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                await self._carry_data(event)
            elif event.opcode is Opcode.CLOSE:
                received = self._frames.close_rcvd
                assert received is not None
                await self._close(1000 if received.code == 1005 else received.code, received.reason)

    async def _accept(self, response: Response) -> None:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headers.raw_items()
            if name.lower() not in _OWN and not name.lower().startswith("sec-websocket-")
        ]
        await self._send({"type": "websocket.accept", "subprotocol": self._frames.subprotocol, "headers": headers})
        self._to_app = asyncio.create_task(self._carry_to_app())

    async def _carry_data(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._message.append(bytes(frame.data))
        if not frame.fin:
            return
        data, self._message = b"".join(self._message), []
        if self._is_text:
            await self._send_open({"type": "websocket.send", "text": data.decode("utf-8", "replace")})
        else:
            await self._send_open({"type": "websocket.send", "bytes": data})

    async def _send_open(self, message: Message) -> None:
        if not self._client_gone and not self._closed:
            with suppress(OSError):  # the client has gone: the other direction hears of it, and tells the app
                await self._send(message)

    async def _close(self, code: int, reason: str) -> None:
        await self._send_open({"type": "websocket.close", "code": code, "reason": reason})
        self._closed = True

    async def _refuse(self, error: Exception) -> None:
        """The app has written an answer of its own that accepts no WebSocket."""
        self._closed = True
        self._over()
        if not isinstance(error, InvalidStatus) or "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": 1000})
            return
        response = error.response
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headers.raw_items()
            if name.lower() not in _OWN
        ]
        await self._send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": bytes(response.body or b"")})

    # From the client to the app.

    async def _carry_to_app(self) -> None:
        while not self._client_gone:
            message = await self._receive()
            if self._frames.state is not State.OPEN and message["type"] != "websocket.disconnect":
                continue
            if message["type"] == "websocket.disconnect":
                self._client_gone = True
                self._say_goodbye(message.get("code", 1005), message.get("reason") or "")
            elif message.get("text") is not None:
                self._frames.send_text(message["text"].encode())
            else:
                self._frames.send_binary(message["bytes"])
            await self._flush()
        if self._writer.can_write_eof():
            with suppress(OSError, RuntimeError):
                self._writer.write_eof()
        self._over()

    def _over(self) -> None:
        if self._app.shared.on_over is not None:
            self._app.shared.on_over()

    def _say_goodbye(self, code: int, reason: str) -> None:
        if self._frames.state is not State.OPEN or code == 1006:
            return  # without a close frame, as the client left
        with suppress(ProtocolError, ValueError):
            if code == 1005:
                self._frames.send_close()
            else:
                self._frames.send_close(code, reason)

    async def _flush(self) -> None:
        data = b"".join(self._frames.data_to_send())
        if data:
            with suppress(OSError, RuntimeError):
                self._writer.write(data)
                await self._writer.drain()
