"""Frames that a client sends before its WebSocket is open: none is lost, none comes in front of the response, and none
costs the worker a connection."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any

import pytest

from graft.connection.early_frames import MOST
from tests.bridge.websocket_apps import frame
from tests.connection.test_chosen import HANDSHAKE
from tests.connection.test_protocol import serving

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
