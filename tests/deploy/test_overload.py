"""More than the legacy side can take, and clients that are slow on purpose."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, repeat

import httpx2 as httpx
import psutil
import pytest

from tests.deploy.load import steady
from tests.deploy.running import Site, site
from tests.parts import free_port, wait_until


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker with four threads, and four places to wait."""
    folder = tmp_path_factory.mktemp("small")
    env = {"WEB_CONCURRENCY": "1", "GRAFT_LEGACY_THREADS": "4", "GRAFT_LEGACY_QUEUE": "4", "LOG_LEVEL": "warning"}
    with site(folder, f"127.0.0.1:{free_port()}", **env) as process:
        yield process


@dataclass(frozen=True)
class Windows:
    """What native routes took in seconds, in windows without and with overload in turn; what the overload got."""

    idle: list[float]
    loaded: list[float]
    refused: list[float]
    answered: int

    @property
    def ratio(self) -> float:
        return p99(self.loaded) / p99(self.idle)

    def __str__(self) -> str:
        figures = {"idle": self.idle, "loaded": self.loaded, "refused": self.refused}
        told = [f"{name}: {len(each)}, p99 {1000 * p99(each):.1f} ms" for name, each in figures.items()]
        return f"{'; '.join(told)}; {self.answered} slow ones answered"


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


async def native_alone(port: int) -> list[float]:
    """Seconds of native answers: 200 a second for two seconds, from a process of their own."""
    async with steady(port, rate=200, kinds=["native"]) as load:
        await asyncio.sleep(2)
    assert load.lost == []
    return load.seconds["native"]


async def windows(port: int) -> Windows:
    """Overload is ten times as many requests of a quarter second as the four threads can do."""
    idle: list[float] = []
    loaded: list[float] = []
    refused: list[float] = []
    answered = 0
    for _ in range(3):
        idle += await native_alone(port)
        async with steady(port, rate=160, kinds=["slow"]) as overload:
            await asyncio.sleep(0.5)
            loaded += await native_alone(port)
        assert overload.lost == []
        refused += overload.seconds["refused"]
        answered += len(overload.seconds["slow"])
    return Windows(idle, loaded, refused, answered)


@pytest.mark.slow
async def test_native_routes_stay_quick_and_the_rest_is_refused_at_once(small: Site) -> None:
    """The best of three attempts: a machine that does other things as well has p99s of its own."""
    port = int(small.bind.rpartition(":")[2])
    await native_alone(port)
    for _ in range(3):
        found = await windows(port)
        print(found)
        if found.ratio <= 2 and p99(found.refused) < 0.05:
            break
    assert found.ratio <= 2, str(found)
    assert p99(found.refused) < 0.05, str(found)
    assert found.answered > 3 * 2 * 4 / 0.25 * 0.8  # and the threads were at work all the time


@pytest.mark.slow
async def test_memory_stays_flat_and_a_second_after_the_load_all_is_as_before(small: Site) -> None:
    port = int(small.bind.rpartition(":")[2])
    worker = psutil.Process(min(small.workers()))
    memory, seconds = [], []
    async with httpx.AsyncClient(base_url=f"http://{small.bind}", timeout=30) as client:
        for _ in range(4):
            async with steady(port, rate=160, kinds=["slow", "native"]) as overload:
                await asyncio.sleep(1.5)
                memory.append(worker.memory_info().rss)
                recovered = asyncio.create_task(seconds_until_prompt(client))
            seconds.append(await recovered)
            assert "refused" in overload.seconds
    assert statistics.median(seconds) < 1, seconds
    assert max(memory) < 1.05 * memory[0]


async def seconds_until_prompt(client: httpx.AsyncClient) -> float:
    """How long until the legacy side answers as if nothing had been: 200, ten times in a row, each within 100 ms."""
    begun = since = time.monotonic()
    in_a_row = 0
    while in_a_row < 10:
        asked = time.monotonic()
        answer = await client.get("/legacy")
        if answer.status_code == 200 and time.monotonic() - asked < 0.1:
            in_a_row += 1
        else:
            in_a_row, since = 0, time.monotonic()
        await asyncio.sleep(0.005)
    return since - begun


async def test_what_is_refused_is_told_when_to_come_back(small: Site) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=f"http://{small.bind}", timeout=30, limits=limits) as client:
        held = [asyncio.create_task(client.get("/sleep/2.0")) for _ in range(8)]
        async with asyncio.timeout(5):
            while (await client.get("/legacy")).status_code != 503:
                await asyncio.sleep(0.01)
        refused = [await client.get("/legacy") for _ in range(20)]
        assert {answer.status_code for answer in refused} == {503}
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert {answer.json()["error"]["code"] for answer in refused} == {"legacy_full"}
        assert {answer.status_code for answer in await asyncio.gather(*held)} == {200}


def test_slow_headers_trickling_bodies_and_stopped_readers_take_no_thread(small: Site) -> None:
    port = int(small.bind.rpartition(":")[2])
    (worker,) = small.workers()
    before = psutil.Process(worker).memory_info().rss
    with ExitStack() as stack:
        slow: list[socket.socket] = []
        for _ in range(150):
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
        for connection in slow[:50]:
            connection.sendall(b"GET /legacy HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        for connection in slow[50:100]:
            connection.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\nx")
        for connection in slow[100:]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /text HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        with small.client() as client:
            for connection in slow[:100]:
                connection.sendall(b"x")
            # twenty pipelined answers for each stopped reader are on their way: they may fill the queue for a moment
            answered = (client.get("/legacy").status_code == 200 for _ in repeat(None))
            wait_until(lambda: all(islice(answered, 20)), 30, "twenty legacy answers in a row")
        assert psutil.Process(worker).memory_info().rss - before < 50_000_000
    with small.client() as client:
        assert client.get("/legacy").status_code == 200
