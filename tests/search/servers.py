"""Small HTTP servers that behave like the servers a client may meet."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

PRODUCT = {"x-elastic-product": "Elasticsearch"}
GREEN = {"status": "green"}


@dataclass(frozen=True)
class Answer:
    """``body`` is text, or data that is sent as JSON; it is sent after so many ``seconds``."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=lambda: dict(PRODUCT))
    mimetype: str = "application/json"
    seconds: float = 0.0

    def encoded(self) -> bytes:
        raw = (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()
        headers = {**self.headers, "content-type": self.mimetype, "content-length": str(len(raw))}
        lines = [f"HTTP/1.1 {self.status} Status", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + raw


def elasticsearch(version: str = "8.19.0", health: Any = GREEN) -> dict[str, Answer]:
    return {"/": Answer(body={"version": {"number": version}}), "/_cluster/health": Answer(body=health)}


@contextlib.asynccontextmanager
async def serving(answers: dict[str, Answer] | None, port: int = 0) -> AsyncIterator[str]:
    """The address of a server that gives these answers by path (``*`` for any other); None: it never answers."""
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                if length:
                    await reader.readexactly(int(length[0].partition(":")[2]))
                if answers is None:
                    continue
                path = head.split(" ")[1].partition("?")[0]
                answer = answers.get(path, answers.get("*", Answer(404)))
                await asyncio.sleep(answer.seconds)
                writer.write(answer.encoded())
                await writer.drain()

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()
