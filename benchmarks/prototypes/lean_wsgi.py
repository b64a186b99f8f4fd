"""How quick a Flask view can be on httptools and uvloop: parser, one hot thread, one write; no task, no ASGI message.

python -m benchmarks.prototypes.lean_wsgi PORT module:app
"""

from __future__ import annotations

import asyncio
import importlib
import io
import sys
import threading
from collections import deque
from typing import Any

import httptools
import uvloop

SAME = {
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SCRIPT_NAME": "",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.errors": sys.stderr,
}
OWN = "date: x\r\nserver: uvicorn\r\nx-request-id: 0123456789abcdef\r\nx-served-by: legacy\r\n\r\n"


class Hop:
    """To the thread and back. Each side puts its work down before it looks whether the other has to be woken."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.jobs: deque[tuple[dict[str, Any], asyncio.Transport]] = deque()
        self.answers: deque[tuple[asyncio.Transport, bytes]] = deque()
        self.sleeps = self.was_called = False
        self.wake = threading.Semaphore(0)
        threading.Thread(target=self.work, daemon=True).start()

    def submit(self, environ: dict[str, Any], transport: asyncio.Transport) -> None:
        self.jobs.append((environ, transport))
        if self.sleeps:
            self.sleeps = False
            self.wake.release()

    def work(self) -> None:
        while True:
            try:
                environ, transport = self.jobs.popleft()
            except IndexError:
                self.sleeps = True
                if self.jobs:
                    self.sleeps = False
                else:
                    self.wake.acquire()
                continue
            self.answers.append((transport, self.answer(environ)))
            if not self.was_called:
                self.was_called = True
                self.loop.call_soon_threadsafe(self.hand_out)

    def answer(self, environ: dict[str, Any]) -> bytes:
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        parts = self.app(environ, lambda status, headers, exc_info=None: begun.append((status, headers)))
        body = b"".join(parts)
        parts.close()
        status, headers = begun[0]
        lines = ["HTTP/1.1 ", status, "\r\n"]
        for name, value in headers:
            lines += (name, ": ", value, "\r\n")
        return "".join([*lines, OWN]).encode("latin-1") + body

    def hand_out(self) -> None:
        self.was_called = False
        while self.answers:
            transport, answer = self.answers.popleft()
            if not transport.is_closing():
                transport.write(answer)


class Connection(asyncio.Protocol):
    def __init__(self, hop: Hop) -> None:
        self.hop = hop

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = self.content = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, content: bytes) -> None:
        self.content += content

    def on_message_complete(self) -> None:
        url = httptools.parse_url(self.url)
        environ: dict[str, Any] = {
            **SAME,
            "REQUEST_METHOD": self.parser.get_method().decode(),
            "PATH_INFO": url.path.decode("latin-1"),
            "QUERY_STRING": (url.query or b"").decode("latin-1"),
            "wsgi.input": io.BytesIO(self.content),
        }
        for name, value in self.headers:
            environ["HTTP_" + name.decode("latin-1").upper().replace("-", "_")] = value.decode("latin-1")
        self.hop.submit(environ, self.transport)


async def main(port: int, app: Any) -> None:
    loop = asyncio.get_running_loop()
    hop = Hop(app, loop)
    await (await loop.create_server(lambda: Connection(hop), "127.0.0.1", port)).serve_forever()


if __name__ == "__main__":
    module, _, name = sys.argv[2].partition(":")
    uvloop.run(main(int(sys.argv[1]), getattr(importlib.import_module(module), name)))
