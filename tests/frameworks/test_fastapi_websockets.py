"""WebSockets of a FastAPI app go through the gateway as in a bare app, to the last code of a close."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import graft
from tests.frameworks.shapes import HEAD

pytest.importorskip("fastapi", reason="pip install fastapi")

SOURCE = (
    HEAD
    + """
app = FastAPI()
rooms = APIRouter(prefix='/rooms')
log = []
async def resource(token: Annotated[str | None, Query()] = None, seen: Annotated[str, Cookie()] = ''):
    if token is None: raise WebSocketException(1008, 'no token')
    log.append('open')
    try: yield token + seen
    finally: log.append('closed')
@rooms.websocket('/{n}')
async def room(websocket: WebSocket, n: int, r: Annotated[str, Depends(resource)]):
    await websocket.accept('chat' if 'chat' in websocket.scope['subprotocols'] else None, [(b'x-room', b'%d' % n)])
    async for text in websocket.iter_text():
        if text == 'break': raise WebSocketException(4001, 'broken')
        if text == 'bytes': await websocket.send_bytes(r.encode())
        else: await websocket.send_json([n, r, text, websocket.url.path])
@app.websocket('/refused')
async def refused(websocket: WebSocket): await websocket.close(1001)
@app.websocket('/own')
async def own(websocket: WebSocket):
    await websocket.accept(); await websocket.send_json(log); await websocket.close(3000, 'done')
app.include_router(rooms)
"""
)
OURS = (b"x-request-id", b"x-served-by")
TALKS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("/rooms/3?token=t", {"subprotocols": ["chat"], "headers": {"cookie": "seen=yes"}}, ("hi", "bytes", "break")),
    ("/rooms/3?token=t", {}, ("one", "two")),
    ("/rooms/3", {}, ()),
    ("/rooms/x?token=t", {}, ()),
    ("/refused", {}, ()),
    ("/own", {}, ("",)),
)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "natives").mkdir()
    (tmp_path / "natives" / "__init__.py").touch()
    (tmp_path / "natives" / "talk.py").write_text(SOURCE)
    (tmp_path / "shop.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    forget("natives", "shop")


@pytest.mark.usefixtures("modules")
def test_talks_go_as_in_a_bare_app() -> None:
    bare = told(importlib.import_module("natives.talk").app)
    forget("natives")
    assert told(graft.gateway(legacy="shop:app", native="natives", serve=False)) == bare
    assert ["refused", 1008, "no token"] in bare[2]
    assert ["closed", 4001, "broken"] in bare[0]


def told(app: Any) -> list[list[Any]]:
    """Of each talk: how it was accepted, what came, how it ended."""
    with TestClient(app) as client:
        return [talk(client, *each) for each in TALKS]


def talk(client: TestClient, path: str, options: dict[str, Any], texts: tuple[str, ...]) -> list[Any]:
    events: list[Any] = []
    try:
        with client.websocket_connect(path, **options) as socket:
            events.append(
                [
                    "accepted",
                    socket.accepted_subprotocol,
                    [name for name, _ in socket.extra_headers or () if name not in OURS],
                ]
            )
            for text in texts:
                if text:
                    socket.send_text(text)
                message = socket.receive()
                if message["type"] == "websocket.close":
                    raise WebSocketDisconnect(message["code"], message["reason"])
                events.append({key: value for key, value in message.items() if value is not None})
            if texts == ("",):
                socket.receive_text()
    except WebSocketDisconnect as closed:
        events.append(["closed" if events else "refused", closed.code, closed.reason])
    return events


def forget(*names: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
