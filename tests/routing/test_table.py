from __future__ import annotations

from typing import Any

from flask import Flask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.testclient import TestClient

from graft.flaskside.rules import Overlap, legacy_rules
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable, Row
from graft.types import ASGIApp, RouteKey


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"native {request.method}")


def table_of(*routes: Any) -> RouteTable:
    flask = Flask("shop", static_folder=None)
    flask.add_url_rule("/both/<int:key>", "both", lambda key: "", methods=["GET", "DELETE"])
    flask.add_url_rule("/old", "old", lambda: "", methods=["GET"])
    return RouteTable([NativeRoute(route, "native.module") for route in routes], legacy_rules(flask))


def test_rows_are_the_native_routes_then_the_rules_that_only_the_legacy_app_has() -> None:
    table = table_of(Route("/both/{id:int}", answer), Route("/new", answer, methods=["POST"]), Mount("/m", routes=[]))
    assert [(str(row.key), row.switched, row.overlap) for row in table] == [
        ("GET /both/{id:int}", True, Overlap.SAME),
        ("POST /new", False, None),
        ("DELETE /both/{key:int}", False, None),
        ("GET /old", False, None),
    ]
    row = table.get(RouteKey("GET", "/both/{id:int}"))
    assert row is not None
    assert row.legacy is not None
    assert row.legacy.endpoint == "both"
    assert table.get(RouteKey("GET", "/nowhere")) is None


def test_each_method_gets_the_app_made_for_it() -> None:
    def app_of(row: Row, native: ASGIApp) -> ASGIApp:
        return PlainTextResponse(f"switchboard of {row.key}") if row.switched else native

    route = Route("/both/{id:int}", answer, methods=["GET", "POST", "DELETE"])
    before = route.app
    client = TestClient(Router(table_of(route).routes(app_of, lambda native: native)))
    assert client.get("/both/7").text == "switchboard of GET /both/{id:int}"
    assert client.head("/both/7").status_code == 200
    assert client.delete("/both/7").text == "switchboard of DELETE /both/{id:int}"
    assert client.post("/both/7").text == "native POST"
    assert route.app is before, "the module's own route is left as it was"


def test_routes_without_methods_are_wrapped_too_and_kinds_that_are_not_known_are_left_alone() -> None:
    wrapped = PlainTextResponse("wrapped")
    host = Host("special.test", app=PlainTextResponse("host"))
    mounted, left = table_of(Mount("/m", app=PlainTextResponse("bare")), host).routes(
        lambda row, native: native, lambda native: wrapped
    )
    assert TestClient(Router([mounted])).get("/m/x").text == "wrapped"
    assert left is host
