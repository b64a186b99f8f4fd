"""Which class speaks HTTP, on Uvicorns that have moved what Graft's own one needs; and what it hands to WebSockets."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
import uvicorn
import uvicorn.protocols.utils
import uvicorn.server
import websockets
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graft.connection import chosen, uvicorn_private
from graft.connection.protocol import Connection
from tests.connection.test_protocol import serving

HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x85\x00\x00\x00\x00hello"  # a frame, masked with noughts


def test_on_the_uvicorn_of_the_requirements_it_is_our_own() -> None:
    assert uvicorn_private.missing() is None
    assert chosen.http_protocol() is Connection


@pytest.mark.parametrize("name", uvicorn_private.CONFIG + uvicorn_private.LOADED)
def test_without_a_part_of_config_uvicorns_own_serves(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Moved(uvicorn.Config):
        def __getattribute__(self, wanted: str) -> Any:
            if wanted == name:
                raise AttributeError(name)
            return super().__getattribute__(wanted)

    monkeypatch.setattr(uvicorn, "Config", Moved)
    with caplog.at_level(logging.WARNING, "graft"):
        assert chosen.http_protocol() is HttpToolsProtocol
    assert "its own HTTP class is served" in caplog.text


@pytest.mark.parametrize("name", uvicorn_private.STATE)
def test_without_a_part_of_the_state_uvicorns_own_serves(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Moved:
        def __init__(self) -> None:
            vars(self).update(dict.fromkeys(set(uvicorn_private.STATE) - {name}))

    monkeypatch.setattr(uvicorn_private, "ServerState", Moved)
    assert chosen.http_protocol() is HttpToolsProtocol
    assert f"ServerState.{name}" in caplog.text


@pytest.mark.parametrize(
    "name", ["get_client_addr", "get_local_addr", "get_path_with_query_string", "get_remote_addr", "is_ssl"]
)
def test_without_a_helper_uvicorns_own_serves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import graft.connection

    monkeypatch.delattr(uvicorn.protocols.utils, name)
    monkeypatch.delitem(sys.modules, "graft.connection.uvicorn_private")
    monkeypatch.delattr(graft.connection, "uvicorn_private")
    assert chosen.http_protocol() is HttpToolsProtocol


def test_without_httptools_h11_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "find_spec", lambda name: None)
    assert chosen.http_protocol() is H11Protocol


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        said = await receive()
        await send({"type": "websocket.send", "text": said.get("text", "") + " to you"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await asyncio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["auto", "websockets-sansio", "wsproto"])
async def test_a_websocket_is_uvicorns_from_its_handshake_on(ws: str) -> None:
    async with (
        serving(app, ws=ws) as served,
        websockets.connect(f"ws://127.0.0.1:{served.port}/", proxy=None) as connection,
    ):
        await connection.send("hello")
        assert await connection.recv() == "hello to you"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("apart", [False, True])
async def test_a_handshake_behind_a_request_waits_for_its_answer_and_no_frame_is_lost(apart: bool) -> None:
    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HANDSHAKE + (b"" if apart else TEXT))
        if apart:
            await asyncio.sleep(0.02)
            writer.write(TEXT)
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            assert await reader.readexactly(14) == b"\x81\x0chello to you"
        writer.close()


@pytest.mark.parametrize("ws", ["none"])
async def test_without_websockets_a_handshake_is_a_request(ws: str) -> None:
    async with serving(app, ws=ws) as served:
        reader, writer = await served.connect()
        writer.write(HANDSHAKE)
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
        writer.close()
