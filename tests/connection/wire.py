"""A connection without a socket: segments go in, and what a server's protocol writes comes out."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.server import ServerState

DATE = [(b"date", b"Fri, 27 Nov 2026 12:00:00 GMT"), (b"server", b"uvicorn")]
TURNS = 12  # of the loop, in which these apps get done what they can


class Wire(asyncio.Transport):
    """What asyncio's transports do, in memory. ``reads`` is whether the client takes what is written."""

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop, reads: bool = True) -> None:
        super().__init__({"peername": ("127.0.0.9", 5000), "sockname": ("127.0.0.1", 8000)})
        self.protocol = protocol
        self.loop = loop
        self.reads = reads
        self.written = b""
        self.unread = 0
        self.writes = 0
        self.closing = self.aborted = self.lost = self.ended = self.paused = False
        self._waiting: deque[bytes] = deque()
        self.eof = False

    def arrive(self, segment: bytes) -> None:
        """What the client has sent. It waits while reading is paused."""
        self._waiting.append(segment)
        self._deliver()

    def _deliver(self) -> None:
        while self._waiting and not self.paused and not self.closing:
            self.protocol.data_received(self._waiting.popleft())

    def half_close(self) -> None:
        self.eof = True
        if not self.protocol.eof_received():
            self.close()

    def write(self, data: Any) -> None:
        if self.lost or self.aborted:
            raise RuntimeError("written after the end")
        self.writes += 1
        self.written += bytes(data)
        if not self.reads:
            self.unread += len(data)
            if self.unread > 65536:
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(bytes(part) for part in list_of_data))

    def read_on(self) -> None:
        self.unread = 0
        self.protocol.resume_writing()
        if self.closing:
            self._end()

    def get_write_buffer_size(self) -> int:
        return self.unread

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unread:
                self.loop.call_soon(self._end)

    def abort(self) -> None:
        self.closing = self.aborted = True
        self.loop.call_soon(self._end)

    def _end(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.loop.call_soon(self._deliver)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


def served(kind: type[asyncio.Protocol], app: Any, *, reads: bool = True, **options: Any) -> tuple[Any, Wire]:
    """A protocol of this kind with a new connection."""
    loop = asyncio.get_running_loop()
    options = {"log_config": None, "access_log": False, "proxy_headers": False, "lifespan": "off", **options}
    config = uvicorn.Config(app, http=kind, **options)
    config.load()
    state = ServerState()
    state.default_headers = DATE
    protocol: Any = kind(config=config, server_state=state, app_state={}, _loop=loop)  # type: ignore[call-arg]
    wire = Wire(protocol, loop, reads)
    protocol.connection_made(wire)
    return protocol, wire


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def converse(kind: type[asyncio.Protocol], app: Any, segments: Sequence[bytes], **options: Any) -> Wire:
    """Send the segments one after the other; the loop turns in between."""
    _, wire = served(kind, app, **options)
    for segment in segments:
        wire.arrive(segment)
        await turn()
    await turn()
    return wire


def answers(written: bytes, methods: Sequence[str] = ()) -> list[tuple[int, list[tuple[bytes, bytes]], bytes]]:
    """The responses in these bytes: status, sorted headers, body. ``methods`` of the requests, for HEAD."""
    found: list[tuple[int, list[tuple[bytes, bytes]], bytes]] = []
    while written:
        head, _, written = written.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = int(first.split(b" ")[1])
        headers = sorted(
            (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        )
        known = dict(headers)
        asked = methods[sum(status >= 200 for status, _, _ in found)] if methods else "GET"
        body = b""
        if status < 200 or status in (204, 304) or asked == "HEAD":
            pass
        elif known.get(b"transfer-encoding") == b"chunked":
            while written:
                size, _, written = written.partition(b"\r\n")
                chunk, written = written[: int(size, 16)], written[int(size, 16) + 2 :]
                body += chunk
                if not chunk:
                    break
        else:
            length = int(known.get(b"content-length", len(written)))
            body, written = written[:length], written[length:]
        found.append((status, headers, body))
    return found


async def everything(scope: Any, receive: Any, send: Any) -> None:
    """An app for tests: what the path says, it does."""
    path: str = scope["path"]

    async def start(*headers: tuple[bytes, bytes], status: int = 200) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(data: bytes = b"", more: bool = False) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": more})

    async def read() -> bytes:
        data = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return data + b"(gone)"
            data += message["body"]
            if not message["more_body"]:
                return data

    if path == "/echo":
        data = await read()
        await start((b"content-length", b"%d" % len(data)))
        await body(data)
    elif path == "/scope":
        keys = ("type", "http_version", "method", "path", "query_string", "root_path", "scheme", "client", "server")
        seen = {key: str(scope[key]) for key in keys}
        seen["headers"] = str(scope["headers"])
        seen["raw_path"] = str(scope["raw_path"])
        data = json.dumps(seen).encode()
        await start((b"content-length", b"%d" % len(data)))
        await body(data)
    elif path == "/chunks":
        await start()
        for part in (b"one", b"", b"two"):
            await body(part, True)
        await body()
    elif path == "/late":
        await start((b"content-length", b"4"))
        await asyncio.sleep(0)
        await body(b"la", True)
        await asyncio.sleep(0)
        await body(b"te")
    elif path.startswith("/status/"):
        await start((b"content-length", b"2") if path.endswith("200") else (b"x-y", b"z"), status=int(path[8:]))
        await body(b"ok" if path.endswith("200") else b"")
    elif path == "/close":
        await start((b"content-length", b"2"), (b"Connection", b"close"))
        await body(b"ok")
    elif path == "/unread":
        await start((b"content-length", b"2"))
        await body(b"ok")
    elif path == "/raises":
        raise RuntimeError("before its response")
    elif path == "/raises-late":
        await start((b"content-length", b"20"))
        await body(b"half", True)
        raise RuntimeError("in its response")
    elif path == "/nothing":
        return
    elif path.startswith("/big/"):
        size = int(path[5:])
        await start((b"content-length", b"%d" % size))
        await body(b"x" * size)
    else:
        await start((b"content-length", b"5"), (b"content-type", b"text/plain"))
        await body(b"hello")
