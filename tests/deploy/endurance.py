"""``python -m tests.deploy.endurance [--requests 500000]``: does a worker stay what it was?

One worker answers requests of every kind in turn: both sides, async views, mirrored routes, uploads, streams, events,
errors, clients that leave in the middle, WebSockets, background tasks. After the first tenth its memory may grow by a
few percent; its file descriptors, threads and asyncio tasks are level at the end. Exit code 1 when they are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from websockets.asyncio.client import connect

from tests.deploy.running import Site, site
from tests.parts import free_port

CLIENTS = 16
GROWTH = 0.03
"""Of the memory, after the first tenth of the requests."""
SLACK = 12
"""Descriptors and threads that may come and go: pools, kept connections."""

GETS = (
    "/native",
    "/legacy",
    "/both",
    "/async",
    "/crash",
    "/nowhere",
    "/native-crash",
    "/text",
    "/native-events?wait=0",
)


@dataclass(frozen=True)
class Level:
    """A worker at one moment: bytes resident, open descriptors, threads, asyncio tasks."""

    memory: int
    descriptors: int
    threads: int
    tasks: int


@dataclass
class Outcome:
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    after_a_tenth: Level = Level(0, 0, 0, 0)
    at_the_end: Level = Level(0, 0, 0, 0)
    workers: set[int] = field(default_factory=set)

    @property
    def growth(self) -> float:
        return self.at_the_end.memory / self.after_a_tenth.memory - 1

    @property
    def level(self) -> bool:
        """Whether nothing but the memory has grown."""
        before, after = self.after_a_tenth, self.at_the_end
        return (
            after.descriptors <= before.descriptors + SLACK
            and after.threads <= before.threads + SLACK
            and after.tasks <= before.tasks + SLACK
            and len(self.workers) == 1
        )

    def __str__(self) -> str:
        return (
            f"{self.requests} requests {dict(self.answers)}; after a tenth {self.after_a_tenth}, at the end "
            f"{self.at_the_end}: memory {self.growth:+.1%}; worker {sorted(self.workers)}"
        )


class Client:
    """One client after the other's kind of request, over a connection that it keeps where it can."""

    def __init__(self, port: int, outcome: Outcome) -> None:
        self._port = port
        self._outcome = outcome
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, number: int) -> None:
        kind = number % 25
        try:
            if kind < 18:
                await self._ask(f"GET {GETS[kind % len(GETS)]} HTTP/1.1\r\n")
            elif kind < 20:
                body = b"u" * (300_000 if number % 100 == kind else 2_000)
                await self._ask(f"POST /upload HTTP/1.1\r\nContent-Length: {len(body)}\r\n", body)
            elif kind == 20:
                await self._ask("POST /kept-task/x HTTP/1.1\r\nContent-Length: 0\r\n")
            elif kind == 21:
                await self._ask("GET /stream/5/1 HTTP/1.1\r\n")
            elif kind == 22:
                await self._leave(b"GET /stream/1000/5 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            elif kind == 23:
                await self._leave(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\nhalf")
            else:
                await self._talk()
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self._outcome.answers[type(error).__name__] += 1
            self.close()
        self._outcome.requests += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _ask(self, head: str, body: bytes = b"") -> None:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._reader, self._writer
        writer.write(f"{head}Host: localhost\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if "transfer-encoding: chunked" in answer:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        else:
            await reader.readexactly(int(answer.partition("content-length: ")[2].split("\r\n")[0]))
        self._outcome.answers[answer.split()[1]] += 1
        if "connection: close" in answer:
            self.close()

    async def _leave(self, request: bytes) -> None:
        """Ask, and be gone before the answer is whole."""
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        await asyncio.sleep(0.01)
        writer.transport.abort()
        self._outcome.answers["left"] += 1

    async def _talk(self) -> None:
        async with connect(f"ws://127.0.0.1:{self._port}/echo") as socket:
            await socket.send("hello")
            await socket.recv()
        self._outcome.answers["websocket"] += 1


async def endure(process: Site, requests: int, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    outcome = Outcome()
    port = int(process.bind.rpartition(":")[2])
    numbers = iter(range(requests))
    reached = asyncio.Event()

    async def client() -> None:
        visitor = Client(port, outcome)
        for number in numbers:
            await visitor.request(number)
            progress(outcome.requests)
            if outcome.requests >= requests // 10:
                reached.set()
        visitor.close()

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await reached.wait()
    outcome.after_a_tenth = await _level(process, port, outcome)
    await asyncio.gather(*clients)
    for _ in range(100):  # what clients left behind comes to its end
        outcome.at_the_end = await _level(process, port, outcome)
        if outcome.level:
            break
        await asyncio.sleep(0.2)
    return outcome


async def _level(process: Site, port: int, outcome: Outcome) -> Level:
    workers = process.workers()
    outcome.workers |= workers
    (pid,) = workers
    worker = psutil.Process(pid)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /asyncio-tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    tasks = json.loads((await reader.read()).rpartition(b"\r\n\r\n")[2])
    writer.close()
    return Level(worker.memory_info().rss, worker.num_fds(), worker.num_threads(), tasks)


def run(folder: Path, requests: int, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    (folder / "switches.toml").write_text('["GET /both"]\nshare = 50\nmirror = 50\n')
    options = {"WEB_CONCURRENCY": "1", "LOG_LEVEL": "critical", "GRAFT_LEGACY": "tests.deploy.site.enduring:app"}
    with site(folder, f"127.0.0.1:{free_port()}", **options) as process:
        return asyncio.run(endure(process, requests, progress))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.endurance", description=__doc__)
    parser.add_argument("--requests", type=int, default=500_000)
    arguments = parser.parse_args()
    columns = (TextColumn("requests"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="graft-endurance-") as folder, Progress(*columns, console=console) as bar:
        task = bar.add_task("endurance", total=arguments.requests)
        outcome = run(Path(folder), arguments.requests, lambda done: bar.update(task, completed=done))
    print(outcome)
    return 0 if outcome.level and outcome.growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
