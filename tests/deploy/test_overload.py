"""More than the legacy side can take, and clients that are slow on purpose."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2 as httpx
import psutil
import pytest

from tests.deploy.running import Site, site
from tests.parts import free_port, wait_until


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker with four threads, and four places to wait."""
    folder = tmp_path_factory.mktemp("small")
    env = {"WEB_CONCURRENCY": "1", "GRAFT_LEGACY_THREADS": "4", "GRAFT_LEGACY_QUEUE": "4", "LOG_LEVEL": "warning"}
    with site(folder, f"127.0.0.1:{free_port()}", **env) as process:
        yield process


async def timed(client: httpx.AsyncClient, path: str) -> tuple[float, httpx.Response]:
    begun = time.perf_counter()
    answer = await client.get(path)
    return time.perf_counter() - begun, answer


async def test_above_threads_and_queue_it_refuses_at_once_and_native_routes_stay_quick(small: Site) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=f"http://{small.bind}", timeout=30, limits=limits) as client:
        for _ in range(5):
            await client.get("/native")
        idle = [(await timed(client, "/native"))[0] for _ in range(40)]
        held = [asyncio.create_task(client.get("/sleep/2.0")) for _ in range(8)]
        await asyncio.sleep(0.3)

        refused = [await timed(client, "/legacy") for _ in range(20)]
        assert {answer.status_code for _, answer in refused} == {503}
        assert {answer.headers["retry-after"] for _, answer in refused} == {"1"}
        assert {answer.json()["error"]["code"] for _, answer in refused} == {"legacy_full"}
        assert statistics.median(seconds for seconds, _ in refused) < 0.05

        busy = [(await timed(client, "/native"))[0] for _ in range(40)]
        # Twice as long at most, on a machine that does other things as well: some milliseconds more.
        assert statistics.median(busy) < 2 * statistics.median(idle) + 0.01

        assert {answer.status_code for answer in await asyncio.gather(*held)} == {200}
        seconds, answer = await timed(client, "/legacy")
        assert (answer.status_code, seconds < 1) == (200, True)


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
            # twenty pipelined answers for each stopped reader are on their way: they may fill the queue for a moment
            wait_until(lambda: client.get("/legacy").status_code == 200, 10, "a legacy answer")
            for connection in slow[:100]:
                connection.sendall(b"x")
            for _ in range(20):
                assert client.get("/legacy").status_code == 200
        assert psutil.Process(worker).memory_info().rss - before < 50_000_000
    with small.client() as client:
        assert client.get("/legacy").status_code == 200
