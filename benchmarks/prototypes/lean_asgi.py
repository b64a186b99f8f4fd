"""How quick an ASGI app can be on httptools and uvloop: a small cycle, and one write a response.

python -m benchmarks.prototypes.lean_asgi PORT module:app
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import httptools
import uvloop

OWN = b"date: x\r\nserver: uvicorn\r\nx-request-id: 0123456789abcdef\r\nx-served-by: native\r\n\r\n"


class Connection(asyncio.Protocol):
    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.client, self.server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = self.content = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, content: bytes) -> None:
        self.content += content

    def on_message_complete(self) -> None:
        url = httptools.parse_url(self.url)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "root_path": "",
            "method": self.parser.get_method().decode(),
            "path": url.path.decode("latin-1"),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": {},
        }
        cycle = Cycle(self.transport, self.content)
        task = self.loop.create_task(self.app(scope, cycle.receive, cycle.send))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Cycle:
    head = b""

    def __init__(self, transport: asyncio.Transport, content: bytes) -> None:
        self.transport = transport
        self.content = content

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.content, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            lines = [b"HTTP/1.1 %d OK\r\n" % message["status"]]
            lines += [b"%b: %b\r\n" % pair for pair in message["headers"]]
            self.head = b"".join([*lines, OWN])
        else:
            self.transport.write(self.head + message["body"])


async def main(port: int, app: Any) -> None:
    loop = asyncio.get_running_loop()
    await (await loop.create_server(lambda: Connection(app, loop), "127.0.0.1", port)).serve_forever()


if __name__ == "__main__":
    module, _, name = sys.argv[2].partition(":")
    uvloop.run(main(int(sys.argv[1]), getattr(importlib.import_module(module), name)))
