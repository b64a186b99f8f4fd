"""The Flask app's checks around the handshake of a native WebSocket."""

from __future__ import annotations

import threading
from typing import Any

import flask
import pytest
from flask import Flask
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from graft.bridge.websocket import send_answer
from graft.connection.protocol import Connection
from graft.connection.websocket import SOCKET
from graft.types import WEBSOCKET, RouteKey
from tests.bridge.websocket_apps import handshake
from tests.bridge.wire import connect as open_connection
from tests.bridge.wire import read_until, serving, until
from tests.flaskside.native import World

pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated"),
    pytest.mark.filterwarnings("ignore:remove second argument of ws_handler"),
]


SERVERS: list[dict[str, Any]] = [{"http": Connection}, {"http": "httptools", "ws": "websockets-sansio"}]


async def tell(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("a secret")
    await websocket.receive()


def make_world(seen: list[Any]) -> World:
    app = Flask(__name__)
    app.secret_key = "a key"

    @app.before_request
    def check() -> Any:
        seen.append(("before", flask.request.path, flask.request.headers["Upgrade"], threading.get_ident()))
        if "login" in flask.request.args:
            return flask.redirect("/login")
        if "broken" in flask.request.args:
            flask.abort(418)
        return None if flask.request.args.get("user") else ("denied", 401)

    @app.after_request
    def mark(response: flask.Response) -> flask.Response:
        response.headers["X-Marked"] = "yes"
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        seen.append(("teardown", threading.get_ident()))

    world = World(app, threads=1)
    route = WebSocketRoute("/ws", tell)
    route.app = world.wrapped(route.app, RouteKey(WEBSOCKET, "/ws"))
    world.routes.append(route)
    return world


async def test_only_our_own_connection_is_given_the_length_of_a_refusal() -> None:
    """The others tell it by themselves; the websockets-sansio of Uvicorn 0.40 sent both."""
    headers = [(b"Content-Length", b"2"), (b"x-a", b"b")]
    for extensions, length in (({}, []), ({SOCKET: None}, headers[:1])):
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        scope = {"type": "websocket", "extensions": {"websocket.http.response": {}, **extensions}}
        await send_answer(scope, send, {"type": "http.response.start", "status": 401, "headers": headers})
        await send_answer(scope, send, {"type": "http.response.body", "body": b"no"})
        assert [message["type"] for message in sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert sent[0]["headers"] == [*length, (b"x-a", b"b")]


@pytest.mark.parametrize("server", SERVERS, ids=["own connection", "websockets-sansio"])
def test_who_may_not_in_gets_the_apps_answer_and_who_may_talks_without_a_thread(server: dict[str, Any]) -> None:
    seen: list[Any] = []
    world = make_world(seen)
    with serving(world.asgi(), **server) as port:
        url = f"ws://127.0.0.1:{port}/ws"
        for query, status in (("", 401), ("?broken=1", 418)):
            with pytest.raises(InvalidStatus) as refused:
                connect(url + query, legacy=True)
            response = refused.value.response
            assert (response.status_code, response.headers["X-Marked"]) == (status, "yes")
            until(lambda: seen[-1][0] == "teardown")
        with open_connection(port) as connection:
            connection.sendall(handshake("/ws?login=1"))
            head = read_until(connection, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 302")
        assert b"\r\nlocation: /login\r\n" in head.lower()
        del seen[:]
        with connect(url + "?user=me", legacy=True) as one, connect(url + "?user=you", legacy=True) as two:
            assert one.recv(timeout=30) == two.recv(timeout=30) == "a secret"
            assert [each[0] for each in seen] == [
                "before",
                "teardown",
            ] * 2  # with one thread for both, and neither kept
            assert {each[-1] for each in seen} == {seen[0][-1]}
            assert seen[0][1:3] == ("/ws", "websocket")
    world.mount.close(10)
