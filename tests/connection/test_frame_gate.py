"""Frames that a client sends before its WebSocket is open: none is lost, none comes in front of the response, and none
costs the worker a connection."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress
from typing import Any

import pytest

from graft.connection import limits
from graft.connection.frame_gate import MOST, FrameGate
from tests.bridge.websocket_apps import frame
from tests.connection.test_chosen import HANDSHAKE
from tests.connection.test_protocol import serving
from tests.connection.wire import Wire

PATIENCE = 30
EARLY = {
    "nothing": b"",
    "a ping": frame(b"aaaaa", 0x9),
    "an opcode that is none": frame(b"a", 0x3),
    "no UTF-8": frame(b"\xff", 0x1),
    "without a mask": b"\x81\x02hi",
    "of bits that nobody has agreed on": b"\xc1" + frame(b"hi")[1:],
    "a part of another message": frame(b"a", 0x0),
    "longer than may be": b"\x81\xff" + struct.pack(">Q", 2**62) + b"\1\2\3\4",
    "a close": frame(struct.pack(">H", 1000), 0x8),
    "a close of no code": frame(b"a", 0x8),
    "more than is kept": frame(b"x" * 100, 0x9) * (2 * MOST // 100),
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Takes its time, as one does that looks up who it is; then echoes."""
    assert (await receive())["type"] == "websocket.connect"
    await asyncio.sleep(0.02)
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["auto", "websockets-sansio", "wsproto"])
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "apart"])
async def test_frames_before_the_response_cost_no_connection_and_no_traceback(
    apart: bool, ws: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "uvicorn.error")
    async with serving(app, ws=ws) as served, asyncio.timeout(PATIENCE):
        state = served.server.server_state
        for kind, early in EARLY.items():
            reader, writer = await served.connect()
            writer.write(HANDSHAKE if apart else HANDSHAKE + early)
            if apart:
                await asyncio.sleep(0.005)
                writer.write(early)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101"), kind
            if kind == "a ping":
                assert await reader.readexactly(7) == b"\x8a\x05aaaaa"
            writer.close()
            while state.connections or state.tasks:
                await asyncio.sleep(0.005)
    assert not [record for record in caplog.records if "ASGI application" in record.getMessage()]


async def test_who_leaves_before_the_response_is_gone_for_the_app_as_well() -> None:
    ended = asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        ended.set()

    async with serving(waits) as served, asyncio.timeout(PATIENCE):
        _, writer = await served.connect()
        writer.write(HANDSHAKE + frame(b"hello"))
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await ended.wait()


def small_reader(port: int) -> socket.socket:
    """A client of which the system takes little that it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", port))
    client.sendall(HANDSHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    return client


def pinged(client: socket.socket, pings: bytes) -> int:
    """How many bytes of these pings the server takes, while nobody reads a pong."""
    sent = 0
    client.settimeout(0.3)
    with suppress(TimeoutError):
        while sent < len(pings):
            sent += client.send(pings[sent : sent + 65536])
    return sent


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["auto", "websockets-sansio", "wsproto"])
async def test_pings_of_a_client_that_reads_no_pongs_wait_with_the_client(ws: str) -> None:
    async with serving(app, ws=ws) as served, asyncio.timeout(PATIENCE):
        with await asyncio.to_thread(small_reader, served.port) as client:
            ping = frame(b"p" * 125, 0x9)
            sent = await asyncio.to_thread(pinged, client, ping * 400_000)
            (protocol,) = served.server.server_state.connections
            assert protocol.transport.get_write_buffer_size() < 1024 * 1024
            whole, begun = divmod(sent, len(ping))
            assert whole < 400_000
            client.settimeout(PATIENCE)
            got = 0
            while got < whole * 127:  # once it reads, it gets all that was asked for
                got += len(await asyncio.to_thread(client.recv, 1024 * 1024))
            await asyncio.to_thread(client.sendall, (ping[begun:] if begun else b"") + frame(b"hello"))
            echo = b""
            while not echo.endswith(b"\x81\x05hello"):
                echo += await asyncio.to_thread(client.recv, 1024 * 1024)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("closes", [False, True], ids=["the app goes on", "the app closes"])
@pytest.mark.parametrize("ws", ["auto", "websockets-sansio", "wsproto"])
async def test_a_client_that_stops_reading_is_cut_off(ws: str, closes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_PATIENCE", 0.2)

    async def talks(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(2 if closes else 10_000):
            await send({"type": "websocket.send", "bytes": b"x" * 4_000_000})
        await send({"type": "websocket.close", "code": 1000})

    async with serving(talks, ws=ws) as served, asyncio.timeout(PATIENCE):
        client = await asyncio.to_thread(small_reader, served.port)
        state = served.server.server_state
        while state.connections or state.tasks:
            await asyncio.sleep(0.01)
        client.close()


@pytest.mark.parametrize("reads", [False, True])
async def test_a_few_bytes_that_are_never_read_hold_no_connection_that_is_to_be_closed(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_PATIENCE", 0.02)

    class Speaks(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"x" * 100)
            transport.close()

    wire = Wire(None, asyncio.get_running_loop(), reads=reads)
    wire.protocol = FrameGate(Speaks(), wire, b"")
    async with asyncio.timeout(PATIENCE):
        while not wire.lost:
            await asyncio.sleep(0.005)
    assert wire.aborted is not reads
