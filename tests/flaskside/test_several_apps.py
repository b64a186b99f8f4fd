"""More than one Flask app, or more than one host: which of them a path belongs to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from flask import Flask, request, session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from graft.cli.checks.application import Application
from graft.control.offline import table_of
from graft.flaskside.side import LegacySide
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable, Row
from graft.settings import Settings
from graft.types import ASGIApp, RouteKey

SideOf = Callable[[Any], LegacySide]


@pytest.fixture
def side_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    sides: list[LegacySide] = []

    def make(app: Any) -> LegacySide:
        module = ModuleType("several_apps")
        module.app = app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "several_apps", module)
        sides.append(LegacySide(Settings.load(legacy="several_apps:app")))
        return sides[-1]

    yield make
    for side in sides:
        assert side.mount.close(10)


async def items(request: Request) -> PlainTextResponse:
    return PlainTextResponse("native")


def dispatched() -> DispatcherMiddleware:
    shop, admin = Flask("shop", static_folder=None), Flask("admin", static_folder=None)
    shop.secret_key = admin.secret_key = "k" * 32
    shop.before_request(lambda: "the shop's check")
    admin.before_request(lambda: session.setdefault("asked", "admin") and None)
    shop.add_url_rule("/", "home", lambda: "home")
    admin.add_url_rule("/items", "items", lambda: "legacy items", methods=["GET"])
    admin.add_url_rule("/items", "add", lambda: "added", methods=["POST"])
    return DispatcherMiddleware(shop, {"/admin": admin})


def client(side: LegacySide, *routes: Route, native: bool = False) -> TestClient:
    table = RouteTable([NativeRoute(route, "module") for route in routes], side.rules)

    def app_of(row: Row, app: ASGIApp) -> ASGIApp:
        return side.around(app, *row.rules, checks=True) if native or not row.switched else side.mount

    app = Starlette(
        routes=[*table.routes(app_of, side.around), Mount("/", side.mount)],
        middleware=[Middleware(FrontDoor, legacy=side.mount, legacy_has=side.has_path)],
        exception_handlers=side.error_handlers,
    )
    return TestClient(app)


def test_a_native_route_over_a_rule_of_a_dispatched_app_is_a_switched_one(side_of: SideOf) -> None:
    side = side_of(dispatched())
    table = RouteTable([NativeRoute(Route("/admin/items", items), "module")], side.rules)
    row = table.get(RouteKey("GET", "/admin/items"))
    assert row is not None
    assert row.switched
    asking = client(side, Route("/admin/items", items))
    assert asking.get("/admin/items").text == "legacy items"
    assert asking.post("/admin/items").text == "added"
    assert asking.delete("/admin/items").status_code == 405


def test_it_runs_behind_the_checks_of_the_app_that_has_the_rule(side_of: SideOf) -> None:
    response = client(side_of(dispatched()), Route("/admin/items", items), native=True).get("/admin/items")
    assert response.text == "native"
    assert "set-cookie" in response.headers


def test_the_longest_mount_tells_whether_a_path_is_known(side_of: SideOf) -> None:
    has_path = side_of(dispatched()).has_path
    assert has_path is not None
    known = {
        path: has_path(path, {}) for path in ("/", "/admin", "/admin/items", "/admin/nothing", "/adminx", "/nothing")
    }
    assert known == {
        "/": True,
        "/admin": True,
        "/admin/items": True,
        "/admin/nothing": False,
        "/adminx": False,
        "/nothing": False,
    }


def test_a_flask_app_that_is_only_mounted_has_its_rules_below_its_mount(side_of: SideOf) -> None:
    """What stands at the root is no Flask app: a WSGI app of another kind, or Werkzeug's own 404."""
    admin = Flask("admin", static_folder=None)
    admin.secret_key = "k" * 32
    admin.before_request(lambda: session.setdefault("asked", "admin") and None)
    admin.add_url_rule("/items", "items", lambda: f"legacy items at {request.path} below {request.script_root}")
    side = side_of(ProxyFix(DispatcherMiddleware(NotFound(), {"/admin": admin})))
    assert [str(rule.key) for rule in side.rules if rule.key.method == "GET"] == ["GET /admin/items"]
    assert [side.has_path(path, {}) for path in ("/admin/items", "/admin", "/items", "/other")] == [
        True,
        True,
        False,
        False,
    ]
    legacy = client(side, Route("/admin/items", items)).get("/admin/items")
    assert legacy.text == "legacy items at /items below /admin"

    async def look(asked: Request) -> PlainTextResponse:
        return PlainTextResponse(side.context.url_for(asked, "items"))

    native = client(side, Route("/admin/items", look), native=True).get("/admin/items")
    assert native.text == "/admin/items"
    assert "set-cookie" in native.headers


def test_a_flask_app_at_the_root_and_below_a_mount_is_at_the_root(side_of: SideOf) -> None:
    shop = Flask("shop", static_folder=None)
    shop.add_url_rule("/items", "items", lambda: "legacy items")
    side = side_of(DispatcherMiddleware(shop, {"/v1": shop}))
    assert [str(rule.key) for rule in side.rules if rule.key.method == "GET"] == ["GET /items"]


@pytest.mark.parametrize("kind", ["host matching", "subdomain"])
def test_an_app_that_knows_hosts_gets_what_no_native_route_takes(kind: str, side_of: SideOf) -> None:
    if kind == "subdomain":
        flask = Flask("shop", static_folder=None, subdomain_matching=True)
        flask.config["SERVER_NAME"] = "shop.test"
        flask.add_url_rule("/only", "only", lambda: "the subdomain's", methods=["POST"], subdomain="api")
    else:
        flask = Flask("shop", static_folder=None, host_matching=True, static_host=None)
        flask.add_url_rule("/only", "only", lambda: "the subdomain's", methods=["POST"], host="api.shop.test")
    asking = client(side_of(flask), Route("/only", items, methods=["DELETE"]))
    answer = asking.post("/only", headers={"host": "api.shop.test"})
    assert (answer.status_code, answer.text) == (200, "the subdomain's")
    refused = asking.post("/only", headers={"host": "www.shop.test"})  # the Flask app has nothing there
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, OPTIONS")


def test_the_commands_know_the_rules_of_all_apps_with_their_paths(
    side_of: SideOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = ModuleType("several_natives")
    native.routes = [Route("/admin/items", items)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "several_natives", native)
    side = side_of(dispatched())
    table = table_of(Settings.load(legacy="several_apps:app", native="several_natives"))
    rows = {str(row.key): row for row in table}
    assert {str(rule.key) for rule in side.rules} <= set(rows)
    assert rows["GET /admin/items"].switched


def test_doctor_counts_the_rules_of_all_apps(side_of: SideOf) -> None:
    side = side_of(dispatched())
    found = Application(Settings.load(legacy="several_apps:app")).legacy_app()
    assert f"{len(side.rules)} rules" in next(iter(found)).message
