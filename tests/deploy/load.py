"""Steady load through a front, as users make it: kept connections, reading, writing, streams and uploads mixed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BLOB = os.urandom(50_000)
BLOB_SUM = hashlib.sha256(BLOB).hexdigest().encode()


class Broken(Exception):
    """The answer is not what it should be."""


@dataclass
class Load:
    """What came back so far: ``good`` by kind, ``bad`` as sentences, ``counted`` the words written by POST /count."""

    port: int
    trust: ssl.SSLContext
    good: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    began: float = 0.0
    lasted: float = 0.0

    @property
    def answered(self) -> int:
        return self.good.total() + len(self.bad)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.answered / self.lasted


class Connection:
    """One kept connection to the front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.kept = True

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        if body or method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        self.writer.write(f"{head}\r\n".encode() + body)
        await self.writer.drain()
        status, headers = await self._head()
        self.kept = headers.get("connection", "").lower() != "close"
        if "transfer-encoding" in headers:
            return status, await self._chunks()
        return status, await self.reader.readexactly(int(headers["content-length"]))

    async def _head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readline()
        await self.reader.readline()
        return b"".join(parts)


async def _one(load: Load, connection: Connection, kind: str, number: str) -> None:
    """Raises Broken, or what a connection raises that breaks."""
    if kind == "native" or kind == "legacy":
        status, body = await connection.ask("GET", f"/{kind}")
        good = b'"version"' in body
    elif kind == "stream":
        status, body = await connection.ask("GET", "/stream/5/4")
        good = body.count(b"\n") == 5
    elif kind == "upload":
        status, body = await connection.ask("POST", "/upload", BLOB)
        good = BLOB_SUM in body
    else:
        load.counted.append(number)
        status, body = await connection.ask("POST", "/count", number.encode())
        good = b'"pid"' in body
    if status != 200 or not good:
        raise Broken(f"{status} {body[:100]!r}")


KINDS = ("native", "legacy", "native", "count", "stream", "legacy", "native", "upload")


async def _user(load: Load, me: int, pause: float, over: asyncio.Event) -> None:
    connection: Connection | None = None
    number = me
    while not over.is_set():
        begun = time.monotonic()
        kind = KINDS[number % len(KINDS)]
        try:
            if connection is None:
                opened = asyncio.open_connection("127.0.0.1", load.port, ssl=load.trust, server_hostname="localhost")
                connection = Connection(*await opened)
            async with asyncio.timeout(20):
                await _one(load, connection, kind, f"{me}-{number}")
            load.good[kind] += 1
        except (Broken, OSError, EOFError, TimeoutError) as error:
            load.bad.append(f"{kind} at {begun - load.began:.2f} s: {error!r}")
            if connection is not None:
                connection.writer.close()
            connection = None
        if connection is not None and not connection.kept:
            connection.writer.close()
            connection = None
        number += 1
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - begun)))
    if connection is not None:
        connection.writer.close()


@asynccontextmanager
async def steady(port: int, trust: ssl.SSLContext, *, users: int = 24, rate: float = 220.0) -> AsyncIterator[Load]:
    """Load on the TLS front at ``port`` as long as the context lasts; ``rate`` is requests a second, all together."""
    load = Load(port, trust, began=time.monotonic())
    over = asyncio.Event()
    tasks = [asyncio.create_task(_user(load, me, users / rate, over)) for me in range(users)]
    try:
        yield load
    finally:
        over.set()
        await asyncio.gather(*tasks)
        load.lasted = time.monotonic() - load.began
