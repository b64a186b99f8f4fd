"""Connections of a worker that leaves, with a real Uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from graft.bridge.exchange import BrokenAnswer
from graft.connection import cycle, limits
from graft.connection.protocol import Connection

DELAYS = {"/": 0.01, "/slow": 0.5, "/slower": 1.5}
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    path: str = scope["path"]
    body = b"x" * int(path.removeprefix("/size/")) if path.startswith("/size/") else b"ok"
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    if path in DELAYS:
        await asyncio.sleep(DELAYS[path])
    await send({"type": "http.response.body", "body": body})


class Served:
    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None]) -> None:
        self.server = server
        self.task = task
        self.port: int = server.servers[0].sockets[0].getsockname()[1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        before = len(self.server.server_state.connections)
        pair = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.timeout(5):
            while len(self.server.server_state.connections) == before:
                await asyncio.sleep(0.005)
        return pair

    async def leave(self) -> None:
        self.server.should_exit = True
        async with asyncio.timeout(5):
            while self.server.servers[0].sockets:
                await asyncio.sleep(0.005)


@pytest.fixture
def last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAST_CALL", 0.3)


@asynccontextmanager
async def serving(served: Any = app, **options: Any) -> AsyncIterator[Served]:
    options = {"log_level": "critical", **options}
    config = uvicorn.Config(served, port=0, lifespan="off", http=Connection, **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(5):
        while not server.started:
            await asyncio.sleep(0.005)
    try:
        yield Served(server, task)
    finally:
        server.should_exit = True
        async with asyncio.timeout(5):
            await task


async def ask(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    reader, writer = pair
    writer.write(REQUEST)
    return await reader.readuntil(b"ok")


async def test_a_request_on_a_connection_just_opened_is_answered_and_the_last_one(last_call: None) -> None:
    async with serving() as served:
        pair = await served.connect()
        await served.leave()
        answer = await ask(pair)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        assert await pair[0].read() == b""
        pair[1].close()


async def test_a_request_on_a_kept_connection_is_answered_and_the_last_one(last_call: None) -> None:
    async with serving() as served:
        pair = await served.connect()
        assert b"connection: close" not in (await ask(pair)).lower()
        await served.leave()
        assert b"connection: close" in (await ask(pair)).lower()
        assert await pair[0].read() == b""
        pair[1].close()


async def test_what_is_being_answered_is_finished(last_call: None) -> None:
    async with serving() as served:
        pair = await served.connect()
        pair[1].write(REQUEST.replace(b"/ ", b"/slow "))
        await pair[0].readuntil(b"\r\n\r\n")
        await served.leave()
        assert (await pair[0].read()).endswith(b"ok")
        pair[1].close()


async def test_quiet_connections_are_closed_after_the_last_call(last_call: None) -> None:
    async with serving() as served:
        pairs = [await served.connect() for _ in range(3)]
        await served.leave()
        async with asyncio.timeout(5):
            assert [await reader.read() for reader, _ in pairs] == [b"", b"", b""]
            await served.task
        for _, writer in pairs:
            writer.close()


async def test_a_connection_that_is_announced_late_gets_its_last_call_too(last_call: None) -> None:
    async with serving() as served:
        _, first = await served.connect()
        await served.leave()
        first.close()
        loop = asyncio.get_running_loop()
        config = served.server.config
        late = Connection(config, served.server.server_state, {}, loop)
        listener = await loop.create_server(lambda: late, "127.0.0.1", 0)
        pair = await asyncio.open_connection(*listener.sockets[0].getsockname())
        assert b"connection: close" in (await ask(pair)).lower()
        pair[1].close()
        listener.close()


async def test_head_and_body_come_in_one_packet() -> None:
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(REQUEST.replace(b"/ ", b"/whole "))
        first = await reader.read(65536)
        assert first.endswith(b"\r\n\r\nok")
        writer.close()


async def test_a_head_does_not_wait_for_a_body_that_is_late() -> None:
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(REQUEST.replace(b"/ ", b"/slow "))
        async with asyncio.timeout(0.4):  # the body comes after 0.5 s
            assert (await reader.read(65536)).endswith(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"ok"
        writer.close()


@pytest.mark.parametrize("size", [0, 1, cycle.JOINED, cycle.JOINED + 1, cycle.PIECE, cycle.PIECE + 1, 5_000_000])
async def test_bodies_of_every_size_arrive_whole(size: int) -> None:
    async with serving() as served:
        reader, writer = await served.connect()
        for _ in range(2):
            writer.write(REQUEST.replace(b"/ ", f"/size/{size} ".encode()))
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"content-length: {size}\r\n".encode() in head.lower()
            assert await reader.readexactly(size) == b"x" * size
        writer.close()


async def test_a_response_without_a_body_is_sent_before_the_connection_closes() -> None:
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(b"HEAD /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(b"".join(REQUEST.replace(b"/ ", f"/size/{size} ".encode()) for size in (3, 0, 70_000, 1)))
        for size in (3, 0, 70_000, 1):
            assert f"content-length: {size}\r\n".encode() in (await reader.readuntil(b"\r\n\r\n")).lower()
            assert await reader.readexactly(size) == b"x" * size
        writer.close()


async def test_a_quiet_connection_is_closed_so_long_after_its_last_response() -> None:
    async with serving(timeout_keep_alive=1) as served:
        clock = asyncio.get_running_loop().time
        pair = await served.connect()
        (connected,) = served.server.server_state.connections
        await ask(pair)
        await asyncio.sleep(0.6)
        await ask(pair)
        last = clock()
        async with asyncio.timeout(5):
            assert await pair[0].read() == b""
        assert clock() - last > 0.9  # the timer of the first response would have ended it after 0.4 s
        assert connected._deadline._timer is None  # type: ignore[union-attr]
        pair[1].close()


async def test_a_connection_is_not_closed_while_it_is_answered() -> None:
    async with serving(timeout_keep_alive=1) as served:
        pair = await served.connect()
        await ask(pair)
        pair[1].write(REQUEST.replace(b"/ ", b"/slower "))
        assert (await pair[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        pair[1].close()


async def test_a_client_that_leaves_leaves_no_timer_behind() -> None:
    async with serving() as served:
        pair = await served.connect()
        (connected,) = served.server.server_state.connections
        await ask(pair)
        assert connected._deadline._timer is not None  # type: ignore[union-attr]
        pair[1].close()
        async with asyncio.timeout(5):
            while served.server.server_state.connections:
                await asyncio.sleep(0.005)
        assert connected._deadline._timer is None  # type: ignore[union-attr]


async def test_what_graft_raises_on_purpose_is_one_line_in_the_log_and_cuts_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stopping(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"ok", "more_body": True})
        raise BrokenAnswer("GET /stream: the client stopped reading")

    async with serving(stopping, log_config=None, log_level="warning") as served:
        reader, writer = await served.connect()
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()
    assert answer.endswith(b"\r\n\r\nok")  # of ten bytes: nobody takes it for a whole one
    assert [(line.getMessage(), line.exc_info) for line in caplog.records] == [
        ("GET /stream: the client stopped reading", None)
    ]


async def test_white_space_around_a_value_is_no_part_of_it() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def tells(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]))
        assert (await receive())["body"] == b"hello"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(tells) as served:
        reader, writer = await served.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x \r\nX-Key: \t a b\t \r\nX-No:  \r\nContent-Length: 5 \t\r\n\r\nhello")
        async with asyncio.timeout(30):
            await reader.readuntil(b"\r\n\r\nok")
        writer.close()
    assert seen == [{b"host": b"x", b"x-key": b"a b", b"x-no": b"", b"content-length": b"5"}]
