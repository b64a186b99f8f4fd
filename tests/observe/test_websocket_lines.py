"""What a WebSocket handshake leaves in the log, with a real Uvicorn: no query, and the path in our own record alone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from graft.observe import logs
from graft.settings import Settings
from tests.connection.test_chosen import HANDSHAKE
from tests.connection.test_protocol import serving

SECRET = b"k3x-9f"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"].endswith("answered"):
        await send({"type": "websocket.http.response.start", "status": 402, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})
        return
    if scope["path"].endswith("accepted"):
        await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 1000})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["auto", "websockets-sansio", "wsproto"])
async def test_no_line_has_the_path_or_the_query_of_a_handshake(ws: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings.load(log_level="info"))
    async with serving(app, ws=ws, log_level="info", log_config=None) as served, asyncio.timeout(30):
        for end in (b"accepted", b"refused", b"answered"):
            reader, writer = await served.connect()
            writer.write(HANDSHAKE.replace(b"/socket", b"/" + SECRET + b"/" + end + b"?token=" + SECRET))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith((b"HTTP/1.1 101", b"HTTP/1.1 40"))
            writer.close()
            while served.server.server_state.connections:
                await asyncio.sleep(0.005)
        logging.getLogger("uvicorn.error").info("told all the same")
    written = capsys.readouterr().err
    assert "told all the same" in written
    assert SECRET.decode() not in written
