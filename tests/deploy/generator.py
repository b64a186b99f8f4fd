"""Steady load as a program of its own: so many requests a second, whatever the other end does.

``python generator.py PORT RATE KINDS [CERTIFICATE]`` asks localhost:PORT, with TLS if there is a certificate, for the
kinds in turn until its standard input ends, then waits for what is still open and prints one JSON object: what it
offered and what came back.

The load is open: request N is due at N / RATE seconds and is sent then, on a kept connection that is free, or on a new
one. Where the site stands still, requests pile up and are sent when a connection is free again; none is left out, and
waiting counts as time that the answer took. Only the standard library, and not in the process of the tests, whose
coverage would slow it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

BLOB = os.urandom(20_000)  # above what Nginx keeps of a body in memory
PARTS = 5
SENTENCE = "{} at {:.2f} s: {!r}"
CONNECTIONS = 64
PATIENCE = 20.0  # seconds for one request, from the moment that it has a connection


class Broken(Exception):
    """The answer is not what it should be."""


def request(kind: str, name: str) -> tuple[bytes, bytes]:
    """The bytes of a request, and what has to be in its answer."""
    if kind == "upload":
        return _post("/upload", name, BLOB), hashlib.sha256(BLOB).hexdigest().encode()
    if kind == "count":
        return _post("/count", name, name.encode()), b'"pid"'
    if kind == "stream":
        return _get(f"/stream/{PARTS}/4", name), b"part %d\n" % (PARTS - 1)
    if kind == "events":
        return _get("/native-events?wait=0.02", name, "Accept: text/event-stream\r\n"), b"data: second"
    if kind == "slow":
        return _get("/sleep/0.25", name), b'"slept"'
    return _get(f"/{kind}", name), b'"version"'


def _get(path: str, name: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {name}\r\n{more}\r\n".encode()


def _post(path: str, name: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection:
    """One kept connection to the front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.kept = True

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        self.writer.write(data)
        status, headers = await self._head()
        self.kept = headers.get(b"connection") != b"close"
        if b"transfer-encoding" in headers:
            return status, await self._chunks()
        return status, await self.reader.readexactly(int(headers[b"content-length"]))

    async def _head(self) -> tuple[int, dict[bytes, bytes]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        return int(lines[0].split()[1]), dict(line.split(b": ", 1) for line in lines[1:] if line)

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append((await self.reader.readexactly(size + 2))[:size])
        await self.reader.readuntil(b"\r\n")
        return b"".join(parts)


@dataclass
class Generator:
    port: int
    rate: float
    kinds: list[str]
    trust: ssl.SSLContext | None
    lost: list[dict[str, str]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    idle: list[Connection] = field(default_factory=list)
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))
    began: float = 0.0

    async def run(self, over: asyncio.Event) -> dict[str, Any]:
        self.began = time.monotonic()
        offered = 0
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                due = self.began + offered / self.rate
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                group.create_task(self._one(self.kinds[offered % len(self.kinds)], f"load-{offered}", due))
                offered += 1
            offering = time.monotonic() - self.began
        lasted = time.monotonic() - self.began
        for connection in self.idle:
            connection.writer.close()
        return {"offered": offered, "offering": offering, "lasted": lasted, "seconds": self.seconds, "lost": self.lost,
                "counted": self.counted}  # fmt: skip

    async def _one(self, kind: str, name: str, due: float) -> None:
        data, wanted = request(kind, name)
        connection: Connection | None = None
        if kind == "count":
            self.counted.append(name)
        await self.free.acquire()
        try:
            connection = self.idle.pop() if self.idle else await self._connect()
            async with asyncio.timeout(PATIENCE):
                status, body = await connection.ask(data)
            if status == 503 and b'"legacy_full"' in body:
                kind = "refused"
            elif status != 200 or wanted not in body:
                raise Broken(f"{status} {body[:100]!r}")
            self.seconds[kind].append(time.monotonic() - due)
        except (Broken, OSError, EOFError, TimeoutError) as error:
            told = SENTENCE.format(kind, time.monotonic() - self.began, error)
            self.lost.append({"name": name, "kind": kind, "told": told})
            if connection is not None and not isinstance(error, Broken):
                connection.kept = False
        finally:
            self.free.release()
        if connection is not None:
            self._put_back(connection)

    async def _connect(self) -> Connection:
        secure = {"ssl": self.trust, "server_hostname": "localhost"} if self.trust is not None else {}
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port, **secure))

    def _put_back(self, connection: Connection) -> None:
        if connection.kept:
            self.idle.append(connection)
        else:
            connection.writer.close()


async def main(port: str, rate: str, kinds: str, *certificate: str) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ended() -> None:  # nobody writes into it: it can be read when it has ended
        loop.remove_reader(sys.stdin)
        over.set()

    loop.add_reader(sys.stdin, ended)
    trust = ssl.create_default_context(cafile=certificate[0]) if certificate else None
    print(json.dumps(await Generator(int(port), float(rate), kinds.split(","), trust).run(over)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
