from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router
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
        ("ANY /m/*", False, None),
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


class OwnKind(BaseRoute):
    def matches(self, scope: Any) -> tuple[Match, Any]:
        return (Match.FULL if scope["path"] == "/own" else Match.NONE), {}

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("own")(scope, receive, send)


def test_routes_without_methods_are_wrapped_too_of_whatever_kind_they_are() -> None:
    def around(native: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            await native({**scope, "session": {}}, receive, send)

        return wrapped

    async def has_session(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(str("session" in scope))(scope, receive, send)

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str("session" in request.scope))

    hosted = Starlette(routes=[Route("/page", page, name="page")])
    originals = Mount("/m", app=has_session), Host("special.test", app=hosted, name="special"), OwnKind()
    router = Router(table_of(*originals).routes(lambda row, native: around(native), around))
    assert TestClient(router).get("/m/x").text == "True"
    assert TestClient(router).get("/own").text == "own"
    assert TestClient(router, base_url="http://special.test").get("/page").text == "True"
    assert str(router.url_path_for("special:page")) == "/page"
    assert not any("handle" in vars(route) for route in originals), "the module's own routes are left as they were"


@pytest.mark.parametrize("kind", [Route, Mount])
def test_headers_that_an_asgi_app_gives_as_an_iterator_can_be_read_by_every_layer(kind: Any) -> None:
    class App:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            headers = iter([(b"x-a", b"1"), (b"x-b", b"2")])
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"x"})

    def looking(native: ASGIApp) -> ASGIApp:
        async def look(scope: Any, receive: Any, send: Any) -> None:
            async def send_after_a_look(message: Any) -> None:
                dict(message.get("headers", ()))
                await send(message)

            await native(scope, receive, send_after_a_look)

        return look

    routes = table_of(kind("/app", App())).routes(lambda row, native: looking(native), looking)
    response = TestClient(Router(routes)).get("/app", follow_redirects=True)
    assert (response.headers["x-a"], response.headers["x-b"]) == ("1", "2")


def test_a_rule_behind_another_of_the_same_paths_is_none_to_move() -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "blog.index", lambda: "")
    app.add_url_rule("/", "index", lambda: "")
    app.add_url_rule("/<int:id>", "article", lambda id: "")
    app.add_url_rule("/<int:number>", "again", lambda number: "")
    app.add_url_rule("/<name>", "page", lambda name: "")
    app.add_url_rule("/", "post", lambda: "", methods=["POST"])
    app.add_url_rule("/", "there", lambda: "", subdomain="there")
    app.add_url_rule("/<any(a,b):id>", "first", lambda id: "")
    app.add_url_rule("/<any(c,d):id>", "second", lambda id: "")
    rows = RouteTable([], legacy_rules(app)).rows
    endpoints = [row.legacy.endpoint for row in rows if row.legacy is not None]
    assert endpoints == ["static", "blog.index", "article", "page", "post", "there", "first", "second"]
