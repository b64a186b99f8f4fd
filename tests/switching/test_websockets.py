"""A switched WebSocket: a native WebSocketRoute where the Flask app has one at the same path."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from graft.bridge.mount import LegacyMount
from graft.connection.protocol import Connection
from graft.flaskside.rules import legacy_rules
from graft.operations.switch import Trip
from graft.operations.switches import Switch, Switches
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable, Row
from graft.switching.switchboard import Switchboard
from graft.types import ASGIApp, RouteKey
from tests.bridge.websocket_apps import Seen, sock_app
from tests.bridge.wire import serving, until

KEY = RouteKey("WEBSOCKET", "/echo")
SERVERS = [{"http": Connection}, {"http": "httptools", "ws": "websockets-sansio"}]


async def native(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            if text == "break":
                raise RuntimeError("broken on purpose")
            await websocket.send_text(f"native {text}")
    except WebSocketDisconnect:
        if "left" in websocket.query_params:
            raise


async def fails(websocket: WebSocket) -> None:
    await websocket.receive()
    raise RuntimeError("broken on purpose")


async def is_late(websocket: WebSocket) -> None:
    await asyncio.sleep(60)


async def says_503(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("no", 503))


async def refuses(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("log in first", 401))


class Gateway:
    def __init__(self, endpoint: Any, server: dict[str, Any], **switch: Any) -> None:
        seen = Seen()
        flask = sock_app(seen)
        self.legacy = LegacyMount(flask)
        self.trips: list[str] = []
        table = RouteTable([NativeRoute(WebSocketRoute("/echo", endpoint), "here")], legacy_rules(flask))
        self.row = table.get(KEY)
        self.board: Switchboard
        self.server = server
        self.switch = Switch(**{"share": 100.0, "mirror": 0.0, **switch})
        self.app = Starlette(
            routes=[*table.routes(self._switched, lambda app: app), Mount("/", self.legacy)],
            middleware=[Middleware(FrontDoor, legacy=self.legacy)],
        )

    def _switched(self, row: Row, app: ASGIApp) -> ASGIApp:
        self.board = Switchboard(row.key, app, self.legacy, record_trip=lambda _, reason: self.trips.append(reason))
        self.shift(self.switch)
        return self.board

    def shift(self, switch: Switch) -> None:
        self.board.follow(Switches({KEY: switch}))

    @contextmanager
    def running(self) -> Iterator[str]:
        with serving(self.app, **self.server) as port:
            yield f"ws://127.0.0.1:{port}"
        self.legacy.close(10)


@pytest.fixture(params=SERVERS, ids=["own connection", "websockets-sansio"])
def server(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def answer(url: str) -> str:
    with connect(url + "/echo", legacy=True) as client:
        client.send("hello")
        return str(client.recv(timeout=10))


def test_it_is_a_row_of_the_table_with_both_sides(server: dict[str, Any]) -> None:
    gateway = Gateway(native, server)
    assert gateway.row is not None
    assert gateway.row.switched


def test_the_share_decides_and_changes_from_one_handshake_to_the_next(server: dict[str, Any]) -> None:
    gateway = Gateway(native, server, share=0.0)
    with gateway.running() as url:
        assert answer(url) == "hello"
        gateway.shift(Switch(share=100, mirror=0))
        assert answer(url) == "native hello"


@pytest.mark.parametrize("endpoint", [fails, says_503, is_late])
def test_a_handshake_that_fails_natively_is_the_legacy_side_s(
    endpoint: Any, server: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Gateway(endpoint, server, deadline=0.2)
    with caplog.at_level(logging.INFO, "graft.access"), gateway.running() as url:
        assert answer(url) == "hello"
        until(lambda: "legacy; fallback" in caplog.text)
    assert "WEBSOCKET /echo 101 legacy; fallback" in caplog.text
    assert "failed natively" in caplog.text


def test_a_refusal_is_an_answer(server: dict[str, Any]) -> None:
    with Gateway(refuses, server).running() as url, pytest.raises(InvalidStatus) as refused:
        answer(url)
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["X-Served-By"] == "native"


def test_too_many_failures_trip_it(server: dict[str, Any]) -> None:
    gateway = Gateway(fails, server, trip=Trip(least=3, percent=50))
    with gateway.running() as url:
        for _ in range(3):
            assert answer(url) == "hello"
        until(lambda: gateway.trips)
        gateway.board._native.app = native_must_not_run
        assert answer(url) == "hello"
    assert gateway.trips == ["3 of 3 native answers failed within 60 s"]


async def native_must_not_run(*_: Any) -> None:
    raise AssertionError("a tripped route is legacy")


def test_what_breaks_later_is_counted_and_the_client_is_told(server: dict[str, Any]) -> None:
    gateway = Gateway(native, server, trip=Trip(least=1, percent=10))
    with gateway.running() as url:
        with connect(url + "/echo", legacy=True) as client:
            client.send("break")
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=10)
        until(lambda: gateway.trips)
        assert answer(url) == "hello"


def test_a_client_that_leaves_is_no_failure(server: dict[str, Any]) -> None:
    gateway = Gateway(native, server, trip=Trip(least=1, percent=10))
    with gateway.running() as url:
        for _ in range(3):
            with connect(url + "/echo?left=1", legacy=True) as client:
                client.send("hello")
                assert client.recv(timeout=10) == "native hello"
        assert answer(url) == "native hello"
    assert gateway.trips == []
