"""Flask-SocketIO in threading mode, driven by its own client: straight to WebSocket, and upgraded from polling."""

from __future__ import annotations

import queue
from typing import Any

import pytest
import socketio
from flask import Flask, session
from flask_socketio import SocketIO, emit, join_room, leave_room

from graft.bridge.mount import LegacyMount
from graft.connection.protocol import Connection
from tests.bridge.wire import serving, until

SERVERS = [
    pytest.param({"http": Connection}, id="own connection"),
    pytest.param({"http": "httptools", "ws": "websockets-sansio"}, id="websockets-sansio"),
]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of websocket-client, which the client is built on


def app() -> Flask:
    flask = Flask(__name__)
    flask.config["SECRET_KEY"] = "k" * 40
    sockets = SocketIO(flask, async_mode="threading", max_http_buffer_size=20_000_000)

    @sockets.on("say")
    def say(text: Any) -> Any:
        return {"said": text}

    @sockets.on("bytes")
    def give_bytes(data: bytes) -> None:
        emit("bytes", data[::-1])

    @sockets.on("join", namespace="/rooms")
    def join(room: str) -> str:
        join_room(room)
        session["room"] = room
        return session["room"]

    @sockets.on("leave", namespace="/rooms")
    def leave(room: str) -> str:
        leave_room(room)
        return "left"

    @sockets.on("tell", namespace="/rooms")
    def tell(room: str, text: str) -> None:
        emit("told", text, to=room)

    return flask


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]], ids=["at once", "upgraded"])
@pytest.mark.parametrize("server", SERVERS)
def test_namespaces_rooms_acknowledgements_and_binary(server: Any, transports: list[str]) -> None:
    mount = LegacyMount(app())
    heard: queue.Queue[Any] = queue.Queue()
    with serving(mount, **server) as port:
        client, other = socketio.Client(), socketio.Client()
        try:
            for one in (client, other):
                one.on("told", heard.put, namespace="/rooms")
                one.on("bytes", heard.put)
                one.connect(f"http://127.0.0.1:{port}", transports=transports, namespaces=["/", "/rooms"])
                until(lambda one=one: one.transport() == "websocket")
            assert mount.websockets.open == 2
            assert client.call("say", "hello", timeout=10) == {"said": "hello"}
            assert client.call("join", "a", namespace="/rooms", timeout=10) == "a"
            assert other.call("join", "b", namespace="/rooms", timeout=10) == "b"
            other.emit("tell", ("a", "to room a"), namespace="/rooms")
            assert heard.get(timeout=10) == "to room a"
            assert client.call("leave", "a", namespace="/rooms", timeout=10) == "left"
            large = bytes(range(256)) * 20_000  # 5 MB
            client.emit("bytes", large)
            assert heard.get(timeout=30) == large[::-1]
        finally:
            for one in (client, other):
                one.disconnect()
        until(lambda: not mount.websockets.open, 15)
