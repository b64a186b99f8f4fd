"""What a switched route leaves to the legacy side alone goes the express way, and nothing else of it does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from graft.mirroring.budget import Budget
from graft.mirroring.mirror import Mirror
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.routing.table import _ByMethod
from graft.switching.switchboard import Switchboard
from graft.types import RouteKey
from tests.connection.express_app import Gateway, Taken, connected, settled
from tests.connection.test_patience import until
from tests.connection.test_same_answers import get, post
from tests.connection.wire import Wire, answers, turn


async def native(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("native")(scope, receive, send)


@asynccontextmanager
async def gateway(
    way: str = "express", desk: Mirror | None = None, path: str = "/", **switch: Any
) -> AsyncIterator[tuple[Any, Wire]]:
    """Flask's ``path`` with a native twin, for which ``switch`` is set."""
    made = Gateway()
    key = RouteKey("GET", path)
    board = Switchboard(key, native, made.mount, mirror=desk)
    board.follow(Switches({key: Switch(**switch)}))
    made.app.router.routes.insert(0, _route(path, _ByMethod(made.mount, {"GET": board, "HEAD": board})))
    try:
        yield await connected(way, made)
    finally:
        made.gate.set()
        assert made.mount.close(10)


def _route(path: str, app: Any) -> Route:
    async def endpoint(request: Request) -> PlainTextResponse:
        raise AssertionError("another app is in its place")

    route = Route(path, endpoint, methods=["GET", "POST"])
    route.app = app
    return route


async def asked(protocol: Any, wire: Wire, request: bytes) -> bytes:
    wire.arrive(request)
    await settled(protocol, wire)
    return answers(wire.written)[-1][2]


async def test_a_dark_route_is_answered_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(monkeypatch)
    async with gateway(share=0, mirror=0) as (protocol, wire):
        assert await asked(protocol, wire, get("/")) == b"hello"
        assert taken.count == 1


async def test_a_native_answer_is_not_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(monkeypatch)
    async with gateway(share=100, mirror=0) as (protocol, wire):
        assert await asked(protocol, wire, get("/")) == b"native"
        assert taken.count == 0


async def test_what_the_budget_leaves_out_takes_it_and_what_is_mirrored_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = Taken(monkeypatch)
    admitted = [True, False]
    monkeypatch.setattr(Budget, "admits", lambda budget, key: admitted.pop(0))
    async with Mirror() as mirror, gateway(desk=mirror, share=0, mirror=100) as (protocol, wire):
        assert await asked(protocol, wire, get("/")) == b"hello"
        assert taken.count == 0
        assert await asked(protocol, wire, get("/")) == b"hello"
        assert taken.count == 1
    assert not admitted


@pytest.mark.parametrize("way", ["express", "asgi"])
@pytest.mark.parametrize("late_body", [b"", b"xy"])
async def test_it_is_counted_under_the_native_routes_name(
    way: str, late_body: bytes, caplog: pytest.LogCaptureFixture, metric: Callable[..., float]
) -> None:
    """Also where it can't go the express way, as its body is still to come."""
    labels = {"route": "GET /status/{code:int}", "side": "legacy", "status": "2xx"}
    before = metric("graft_requests_total", **labels)
    with caplog.at_level(logging.INFO, "graft.access"):
        async with gateway(way, path="/status/{code:int}", share=0, mirror=0) as (protocol, wire):
            wire.arrive(get("/status/200", f"Content-Length: {len(late_body)}"))
            await turn()
            wire.arrive(late_body)
            await settled(protocol, wire)
            await until(lambda: metric("graft_requests_total", **labels) - before == 1)
            head = answers(wire.written)[-1][1]
    assert (b"x-served-by", b"legacy") in head
    (record,) = [vars(record) for record in caplog.records if record.name == "graft.access"]
    assert (record["route"], record["side"]) == ("GET /status/{code:int}", "legacy")


@pytest.mark.parametrize("way", ["express", "asgi"])
async def test_a_method_without_a_switch_goes_on_as_before(way: str) -> None:
    async with gateway(way, share=0, mirror=0) as (protocol, wire):
        assert await asked(protocol, wire, post("/", b"x")) == b"hello"
