"""Flask apps with WebSockets, and clients for them."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, abort, redirect, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Seen:
    """What the app's threads have seen."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str | None]] = []
        self.environ: dict[str, Any] = {}
        self.sent = 0
        self.threads: set[str] = set()
        self.go_on = threading.Event()


def sock_app(seen: Seen | None = None, **options: Any) -> Flask:
    """Flask-Sock on simple-websocket, with a login before it."""
    seen = seen or Seen()
    app = Flask(__name__)
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["chat"], **options}
    sock = Sock(app)

    @app.before_request
    def login() -> Any:
        if "refuse" in request.args:
            abort(int(request.args["refuse"]))
        if "login" in request.args:
            return redirect("/login")
        return None

    @app.get("/page")
    def page() -> str:
        return "a page"

    @sock.route("/echo")
    def echo(ws: Any) -> None:
        seen.threads.add(threading.current_thread().name)
        seen.environ = dict(request.environ)
        try:
            while True:
                said = ws.receive()
                if said == "leave":
                    ws.close(4001, "as you wish")
                elif said == "return":
                    return
                else:
                    ws.send(said)
        except ConnectionClosed as closed:
            seen.closed.append((closed.reason, closed.message))

    @sock.route("/flood")
    def flood(ws: Any) -> None:
        block = bytes(64 * 1024)
        while seen.sent < 64 * 1024 * 1024:
            ws.send(block)
            seen.sent += len(block)

    @app.get("/slow", websocket=True)
    def slow() -> str:
        seen.go_on.wait(20)
        return "too late"

    @app.get("/broken", websocket=True)
    def broken() -> str:
        raise RuntimeError("broken on purpose")

    return app


def accept(environ: dict[str, Any]) -> socket.socket:
    connection: socket.socket = environ["werkzeug.socket"]
    key = base64.b64encode(hashlib.sha1((environ["HTTP_SEC_WEBSOCKET_KEY"] + GUID).encode()).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
    )
    return connection


def raw_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """An app that speaks the protocol itself, on the socket of Werkzeug's server, from within a generator."""
    connection = accept(environ)
    with connection.makefile("rb") as lines:
        head = lines.read(2)
        mask = lines.read(4)
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(lines.read(head[1] & 127)))
    connection.sendall(bytes([0x81, len(text)]) + text)
    connection.sendall(b"\x88\x02\x03\xe8")
    yield b""


def handshake(path: str, *headers: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: test",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A frame of a client's."""
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2)
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
