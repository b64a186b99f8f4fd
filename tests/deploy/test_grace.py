"""What a worker still serves when another one takes its place: streams, uploads and WebSockets have their own time.

GRACEFUL_TIMEOUT is 11 s here, so that Uvicorn alone would cut them after one second; Gunicorn would kill a worker that
is silent for 3 s.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest
import websockets

from tests.deploy.running import Site, site
from tests.parts import free_port

pytestmark = pytest.mark.slow


@contextmanager
def served(folder: Path, *options: str, grace: str = "60", workers: str = "1") -> Iterator[Site]:
    env = {"GRACEFUL_TIMEOUT": "11", "GRAFT_STREAM_GRACE": grace, "WEB_CONCURRENCY": workers}
    with site(folder, f"127.0.0.1:{free_port()}", "--timeout", "3", *options, **env) as running:
        yield running


def port(running: Site) -> int:
    return int(running.bind.rpartition(":")[2])


async def until(condition: object, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # type: ignore[arg-type]
            await asyncio.sleep(0.05)


async def upload(address: str, seconds: float) -> httpx.Response:
    async def trickle():  # type: ignore[no-untyped-def]
        for _ in range(round(seconds * 10)):
            yield b"x" * 1000
            await asyncio.sleep(0.1)

    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(f"{address}/upload", content=trickle())


async def test_a_reload_waits_for_streams_uploads_and_websockets_while_a_new_worker_serves(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        address = f"http://{running.bind}"
        async with (
            httpx.AsyncClient(base_url=address, timeout=60) as client,
            websockets.connect(f"ws://{running.bind}/echo", proxy=None) as socket,
        ):
            (old,) = running.workers()
            begun = time.monotonic()
            stream = asyncio.create_task(client.get("/stream/60/100"))
            events = asyncio.create_task(client.get("/native-events?wait=5"))
            sending = asyncio.create_task(upload(address, 5))
            await asyncio.sleep(0.5)
            os.kill(running.pid, signal.SIGHUP)

            async def another_answers() -> bool:
                async with httpx.AsyncClient(base_url=address, timeout=30) as other:
                    answer = await other.get("/native", headers={"Connection": "close"})
                    return bool(answer.json()["pid"] != old)

            async with asyncio.timeout(30):
                while not await another_answers():
                    await asyncio.sleep(0.05)
            answers = await asyncio.gather(stream, events, sending)
            assert time.monotonic() - begun > 5
            assert answers[0].text.count("part") == 60
            assert "second" in answers[1].text
            assert answers[2].json()["size"] == 50_000
            assert old in running.workers()  # the WebSocket keeps it
            await socket.send("still there")
            assert await socket.recv() == "still there from 127.0.0.1"
        await until(lambda: old not in running.workers())


@pytest.mark.parametrize(("grace", "state"), [("60", "done"), ("3", "interrupted")])
async def test_background_tasks_of_a_worker_that_is_replaced_have_its_time(
    tmp_path: Path, grace: str, state: str
) -> None:
    options = {"GRACEFUL_TIMEOUT": "2", "GRAFT_STREAM_GRACE": grace, "WEB_CONCURRENCY": "1"}
    with site(tmp_path, f"127.0.0.1:{free_port()}", "--timeout", "3", **options) as running:
        (old,) = running.workers()
        async with httpx.AsyncClient(base_url=f"http://{running.bind}", timeout=60) as client:
            task = (await client.get("/native-task?seconds=6", headers={"Connection": "close"})).json()["id"]
            os.kill(running.pid, signal.SIGHUP)
            await until(lambda: old not in running.workers())
            told = await client.get(f"/native-task?id={task}", headers={"Connection": "close"})
            assert told.json() == {"state": state}


async def test_at_the_end_of_its_time_a_websocket_gets_1012_and_a_stream_is_cut(tmp_path: Path) -> None:
    with served(tmp_path, grace="3") as running:
        (old,) = running.workers()
        async with (
            httpx.AsyncClient(base_url=f"http://{running.bind}", timeout=60) as client,
            websockets.connect(f"ws://{running.bind}/echo", proxy=None) as socket,
        ):
            stream = asyncio.create_task(client.get("/stream/200/100"))
            await asyncio.sleep(0.3)
            os.kill(running.pid, signal.SIGHUP)
            begun = time.monotonic()
            await socket.wait_closed()
            assert socket.close_code == 1012
            assert time.monotonic() - begun > 2.5
            with pytest.raises(httpx.RemoteProtocolError):
                await stream
        await until(lambda: old not in running.workers())


async def test_a_worker_that_is_recycled_is_replaced_before_it_is_gone(tmp_path: Path) -> None:
    with served(tmp_path, "--max-requests", "20") as running:
        (old,) = running.workers()
        async with (
            httpx.AsyncClient(base_url=f"http://{running.bind}", timeout=60) as client,
            httpx.AsyncClient(base_url=f"http://{running.bind}", timeout=60) as other,
        ):
            stream = asyncio.create_task(client.get("/stream/60/100"))
            await asyncio.sleep(0.3)
            for _ in range(25):
                assert (await other.get("/native")).status_code == 200
            await until(lambda: len(running.workers()) == 2, 8)
            assert old in running.workers()

            async def another_answers() -> bool:
                answer = await other.get("/native", headers={"Connection": "close"})
                return bool(answer.json()["pid"] != old)

            async with asyncio.timeout(20):
                while not await another_answers():
                    await asyncio.sleep(0.05)
            assert (await stream).text.count("part") == 60
        await until(lambda: old not in running.workers() and len(running.workers()) == 1)


async def test_when_the_server_stops_websockets_are_told_at_once_and_streams_have_the_short_time(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as running:
        async with (
            httpx.AsyncClient(base_url=f"http://{running.bind}", timeout=60) as client,
            websockets.connect(f"ws://{running.bind}/echo", proxy=None) as socket,
        ):
            stream = asyncio.create_task(client.get("/stream/200/100"))
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            running._popen.send_signal(signal.SIGTERM)
            await socket.wait_closed()
            assert socket.close_code == 1012
            assert time.monotonic() - begun < 1
            with pytest.raises(httpx.RemoteProtocolError):
                await stream
        assert running.wait(10) == 0
        assert time.monotonic() - begun < 9


async def test_one_worker_less_waits_for_its_streams(tmp_path: Path) -> None:
    with served(tmp_path, workers="2") as running:
        async with httpx.AsyncClient(base_url=f"http://{running.bind}", timeout=60) as client:
            streams = [asyncio.create_task(client.get("/stream/50/100")) for _ in range(6)]
            await asyncio.sleep(0.5)
            os.kill(running.pid, signal.SIGTTOU)
            assert {(await stream).text.count("part") for stream in streams} == {50}
        await until(lambda: len(running.workers()) == 1)


async def test_clients_that_keep_their_connections_get_no_reset_in_a_reload(tmp_path: Path) -> None:
    """Without a proxy: each sends a request now and then, more often than the last call is long."""
    with served(tmp_path, workers="2") as running:
        lost: list[str] = []
        pids: set[int] = set()
        over = asyncio.Event()

        async def client() -> None:
            while not over.is_set():
                reader, writer = await asyncio.open_connection("127.0.0.1", port(running))
                closes = False
                while not over.is_set() and not closes:
                    try:
                        writer.write(b"GET /native HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        head = (await reader.readuntil(b"\r\n\r\n")).lower()
                        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
                        pids.add(int((await reader.readexactly(length)).partition(b'"pid":')[2].split(b",")[0]))
                        closes = b"connection: close" in head
                    except (OSError, asyncio.IncompleteReadError) as error:
                        lost.append(repr(error))
                        break
                    await asyncio.sleep(0.2)
                writer.close()

        first = running.workers()
        clients = [asyncio.create_task(client()) for _ in range(10)]
        for _ in range(2):
            old = running.workers()
            await asyncio.sleep(0.5)
            os.kill(running.pid, signal.SIGHUP)
            await until(lambda old=old: not old & running.workers())  # type: ignore[misc]
        await asyncio.sleep(0.5)
        over.set()
        await asyncio.gather(*clients)
        assert lost == []
        assert pids & first
        assert pids - first
        assert psutil.pid_exists(running.pid)
