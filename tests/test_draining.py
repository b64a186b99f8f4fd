"""Connections of a worker that leaves, with a real Uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from graft import draining
from graft.draining import DrainingProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await asyncio.sleep(0.5 if scope["path"] == "/slow" else 0.01)
    await send({"type": "http.response.body", "body": b"ok"})


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
    monkeypatch.setattr(draining, "LAST_CALL", 0.3)


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", http=DrainingProtocol)
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
        late = DrainingProtocol(config, served.server.server_state, {}, loop)
        listener = await loop.create_server(lambda: late, "127.0.0.1", 0)
        pair = await asyncio.open_connection(*listener.sockets[0].getsockname())
        assert b"connection: close" in (await ask(pair)).lower()
        pair[1].close()
        listener.close()
