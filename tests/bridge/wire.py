"""Two ways to ask an ASGI app: over a real socket, and by hand with scripted receive and send."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


def until(condition: Callable[[], Any], timeout: float = 5.0) -> Any:
    """Wait until ``condition()`` is true, and return what it gave; AssertionError after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.002)
    return value


async def until_true(condition: Callable[[], Any], timeout: float = 5.0) -> Any:
    """``until`` for a test that runs on the loop."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.002)
    return value


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[int]:
    """Serve ``app`` by uvicorn in a thread; gives the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        close = getattr(app, "close", None)
        if close is not None:
            close(10)


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def talk(port: int, request: bytes) -> bytes:
    """Send the bytes, and return all that comes until the server closes."""
    with connect(port) as connection:
        connection.sendall(request)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        part = connection.recv(65536)
        assert part, f"the connection ended before {mark!r}: {received!r}"
        received += part
    return received


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(path: str, body: bytes, *headers: str) -> bytes:
    return get(path, f"Content-Length: {len(body)}", *headers, method="POST") + body


class Conversation:
    """One request by hand. ``messages`` are what the app receives, then it waits for ``leave``.

    ``sent`` is what the app sent; ``began`` is set when the first byte of its body was.
    """

    def __init__(self, *messages: dict[str, Any], **scope: Any) -> None:
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in scope.pop("headers", [])]
        path = scope.pop("path", "/")
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 5000),
            "server": ("127.0.0.1", 8000),
            **scope,
        }
        self.incoming = list(messages)
        self.received = 0
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.began = threading.Event()

    def leave(self) -> None:
        self.left.set()

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        if self.incoming:
            return self.incoming.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.began.set()

    async def ask(self, app: Any) -> Conversation:
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class SlowUpload(Conversation):
    """A POST of ``parts`` times ``size`` bytes, with a pause before each."""

    def __init__(self, parts: int, size: int, pause: float, path: str = "/") -> None:
        super().__init__(method="POST", path=path, headers=[("Content-Length", str(parts * size))])
        self._parts, self._size, self._pause = parts, size, pause

    async def receive(self) -> dict[str, Any]:
        if self.received == self._parts:
            return await super().receive()
        await asyncio.sleep(self._pause)
        self.received += 1
        return request(b"x" * self._size, self.received < self._parts)


def request(body: bytes = b"", more: bool = False) -> dict[str, Any]:
    """An ``http.request`` message."""
    return {"type": "http.request", "body": body, "more_body": more}
