"""Flask apps whose rules hang on the host: a native page answers where its twin would, and on no other rule's host."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2 as httpx
import pytest
from flask import Flask, request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute

from graft.flaskside.rules import legacy_rules
from graft.flaskside.side import LegacySide
from graft.operations.edits import set_switch
from graft.routing.errors import error_handlers
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import NativeRoute, discover
from graft.routing.overlapping_routes import notes
from graft.routing.table import RouteTable
from graft.settings import Settings
from graft.switching.switching import Switching
from graft.types import RouteKey

HOSTS = {"": "shop.test", "api": "api.shop.test", "<tenant>": "<tenant>.shop.test"}


def shop(kind: str) -> Flask:
    """``/items`` on the default host, another on ``api``, a third on every other subdomain; ``/only`` on ``api``."""
    if kind == "subdomains":
        app = Flask("shop", static_folder=None, subdomain_matching=True)
        app.config["SERVER_NAME"] = "shop.test"
    else:
        app = Flask("shop", static_folder=None, host_matching=True)

    def add(path: str, method: str, at: str, answer: str) -> None:
        where: dict[str, Any] = {"subdomain": at} if kind == "subdomains" else {"host": HOSTS[at]}
        app.add_url_rule(path, answer, lambda **values: f"legacy {answer}", methods=[method], **where)

    add("/items", "GET", "", "default")
    add("/items", "GET", "api", "api")
    add("/items", "GET", "<tenant>", "tenant")
    add("/only", "POST", "api", "only")
    app.before_request(lambda: "checked" if "check" in request.args else None)
    return app


async def native(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"native {request.path_params.get('tenant', '')}".strip())


async def native_api(request: Request) -> PlainTextResponse:
    return PlainTextResponse("native api")


@pytest.fixture(params=["subdomains", "host matching"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    module = ModuleType("hosts_shop")
    module.app = shop(request.param)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hosts_shop", module)
    return Settings.load(legacy="hosts_shop:app", data=tmp_path, switches=tmp_path / "switches.toml")


@pytest.fixture
def natives(monkeypatch: pytest.MonkeyPatch) -> list[BaseRoute]:
    module = ModuleType("hosts_natives")
    module.routes = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hosts_natives", module)
    routes: list[BaseRoute] = module.routes
    return routes


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[tuple[RouteTable, httpx.AsyncClient]]:
    legacy = LegacySide(settings)
    table = RouteTable(discover("hosts_natives"), legacy.rules)
    switching = Switching(settings, legacy)
    app = Starlette(
        routes=[*table.routes(switching.app, legacy.around), Mount("/", app=legacy.mount)],
        middleware=[Middleware(FrontDoor, legacy=legacy.mount, legacy_has=legacy.has_path, user_of=legacy.user_of)],
        exception_handlers=error_handlers(legacy.error_handlers),
    )
    async with (
        switching.follower,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client,
    ):
        yield table, client
    assert legacy.mount.close(10)
    assert legacy.mirror.close(10)


async def ask(client: httpx.AsyncClient, host: str, path: str = "/items", method: str = "GET") -> str:
    response = await client.request(method, f"http://{host}{path}")
    return response.text if response.status_code == 200 else str(response.status_code)


def on_api(*routes: BaseRoute, host: str = "api.shop.test") -> Host:
    return Host(host, app=Router([*routes]), name="api")


@pytest.mark.filterwarnings("ignore:Current server name")  # Werkzeug's, of the unknown host
async def test_a_native_page_answers_on_the_default_host_alone(settings: Settings, natives: list[BaseRoute]) -> None:
    natives.append(on_api(Route("/other", native)))
    natives.append(Host("shop.test", app=Router([Route("/items", native)])))
    set_switch(settings.switches, RouteKey("GET", "/items", "shop.test"), share=100)
    async with gateway(settings) as (_, client):
        assert await ask(client, "shop.test") == "native"
        assert await ask(client, "shop.test:80") == "native"
        assert await ask(client, "api.shop.test") == "legacy api"
        assert await ask(client, "acme.shop.test") == "legacy tenant"
        alone = sys.modules["hosts_shop"].app.test_client().get("/items", base_url="http://else.where")
        assert await ask(client, "else.where") == (alone.text if alone.status_code == 200 else str(alone.status_code))


@pytest.mark.parametrize("settings", ["subdomains"], indirect=True)
@pytest.mark.parametrize("share", [0, 100])
async def test_a_route_without_a_host_twins_the_rule_of_the_default_host(
    share: int, settings: Settings, natives: list[BaseRoute]
) -> None:
    natives.append(Route("/items", native))
    set_switch(settings.switches, RouteKey("GET", "/items"), share=share)
    async with gateway(settings) as (table, client):
        rows = [str(row.key) for row in table if row.switched]
        assert rows == ["GET /items"]
        assert await ask(client, "shop.test") == ("native" if share else "legacy default")
        assert await ask(client, "api.shop.test") == "legacy api"
        assert await ask(client, "acme.shop.test") == "legacy tenant"
        assert (await client.head("http://api.shop.test/items")).headers["x-served-by"] == "legacy"
        assert (await client.head("http://shop.test/items")).headers["x-served-by"] == ("native" if share else "legacy")


@pytest.mark.parametrize("settings", ["host matching"], indirect=True)
async def test_a_route_without_a_host_twins_none_of_several_hosts(settings: Settings, natives: list[BaseRoute]) -> None:
    natives.append(Route("/items", native))
    async with gateway(settings) as (table, client):
        assert not any(row.switched for row in table)
        assert await ask(client, "shop.test") == "legacy default"
        assert await ask(client, "api.shop.test") == "legacy api"
        assert await ask(client, "else.where") == "native"  # no rule there: native-only, as anywhere


async def test_a_host_has_switches_of_its_own(settings: Settings, natives: list[BaseRoute]) -> None:
    natives += [Route("/items", native), on_api(Route("/items", native_api, name="items"))]
    key = RouteKey("GET", "/items", "api.shop.test")
    async with gateway(settings) as (table, client):
        assert (row := table.get(key)) is not None
        assert row.switched
        assert await ask(client, "api.shop.test") == "legacy api"  # dark
    set_switch(settings.switches, key, share=100)
    async with gateway(settings) as (_, client):
        assert await ask(client, "api.shop.test") == "native api"
        assert await ask(client, "api.shop.test", "/items?check=1") == "checked"
        assert await ask(client, "shop.test") == "legacy default"
        assert await ask(client, "acme.shop.test") == "legacy tenant"
        assert await ask(client, "api.shop.test", "/nothing") == "404"


async def test_a_pattern_twins_the_rule_of_that_pattern(settings: Settings, natives: list[BaseRoute]) -> None:
    natives.append(on_api(Route("/items", native), host="{tenant}.shop.test"))
    set_switch(settings.switches, RouteKey("GET", "/items", "{tenant}.shop.test"), share=100)
    async with gateway(settings) as (_, client):
        assert await ask(client, "acme.shop.test") == "native acme"
        assert await ask(client, "api.shop.test") == "legacy api"  # Flask has a rule for that host alone
        assert await ask(client, "shop.test") == "legacy default"


@pytest.mark.parametrize("share", [0, 100])
async def test_a_rule_of_one_host_is_twinned_there(share: int, settings: Settings, natives: list[BaseRoute]) -> None:
    natives.append(Route("/only", native, methods=["POST"]))
    set_switch(settings.switches, RouteKey("POST", "/only"), share=share)
    async with gateway(settings) as (_, client):
        assert await ask(client, "api.shop.test", "/only", "POST") == ("native" if share else "legacy only")
        assert (await client.get("http://api.shop.test/only")).status_code == 405


async def test_native_only_paths_answer_405_and_options_as_elsewhere(
    settings: Settings, natives: list[BaseRoute]
) -> None:
    natives += [Route("/new", native), Route("/items", native, methods=["DELETE"]), on_api(Route("/here", native))]
    async with gateway(settings) as (_, client):
        refused = await client.post("http://api.shop.test/new")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        options = await client.options("http://shop.test/new")
        assert (options.status_code, options.headers["allow"]) == (200, "GET, HEAD, OPTIONS")
        both = await client.put("http://shop.test/items")
        assert (both.status_code, both.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
        assert await ask(client, "api.shop.test", "/here") == "native"
        assert await ask(client, "api.shop.test", "/here", "POST") == "405"
        assert await ask(client, "shop.test", "/here") == "404"


async def test_a_native_mount_leaves_what_a_rule_answers(settings: Settings, natives: list[BaseRoute]) -> None:
    natives.append(Mount("/items", app=Router([Route("/", native), Route("/new", native)])))
    async with gateway(settings) as (_, client):
        assert await ask(client, "api.shop.test", "/items/new") == "native"
        assert await ask(client, "api.shop.test") == "legacy api"


async def test_urls_of_routes_in_a_host_are_found(settings: Settings, natives: list[BaseRoute]) -> None:
    async def where(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.url_for("api:items", id=3)))

    natives += [on_api(Route("/new/{id:int}", native_api, name="items")), Route("/where", where)]
    async with gateway(settings) as (_, client):
        assert await ask(client, "shop.test", "/where") == "http://api.shop.test/new/3"


async def test_a_host_beside_an_app_that_knows_none(
    tmp_path: Path, natives: list[BaseRoute], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/items", "items", lambda: "legacy")
    monkeypatch.setitem(sys.modules, "hosts_shop", module := ModuleType("hosts_shop"))
    module.app = app  # type: ignore[attr-defined]
    natives.append(on_api(Route("/items", native_api)))
    settings = Settings.load(legacy="hosts_shop:app", data=tmp_path, switches=tmp_path / "switches.toml")
    async with gateway(settings) as (_, client):
        assert await ask(client, "api.shop.test") == "legacy"
    set_switch(settings.switches, RouteKey("GET", "/items", "api.shop.test"), share=100)
    async with gateway(settings) as (_, client):
        assert await ask(client, "api.shop.test") == "native api"
        assert await ask(client, "shop.test") == "legacy"


def test_keys_with_a_host_are_read_and_written() -> None:
    for text in ("GET api.example.org/items", "GET {tenant}.example.org/a/{id:int}", "POST localhost:8000/"):
        assert str(RouteKey.parse(text)) == text
    assert RouteKey.parse("GET api.example.org/items") == ("GET", "/items", "api.example.org")
    assert RouteKey.parse("GET /items") == ("GET", "/items", "")
    for text in ("GET api.example.org", "GET http://api.example.org/items"):
        with pytest.raises(ValueError, match="is not a route"):
            RouteKey.parse(text)


async def test_the_access_record_names_the_host(
    settings: Settings, natives: list[BaseRoute], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "graft.access")
    natives.append(on_api(Route("/items", native_api)))
    async with gateway(settings) as (_, client):
        await ask(client, "api.shop.test")
        await ask(client, "acme.shop.test")
        await ask(client, "shop.test")
    named = [record.route for record in caplog.records if record.name == "graft.access"]  # type: ignore[attr-defined]
    assert named[:2] == ["GET api.shop.test/items", "GET {tenant}.shop.test/items"]
    assert named[2] in ("GET /items", "GET shop.test/items")


@pytest.mark.parametrize("kind", ["subdomains", "host matching"])
def test_a_websocket_route_leaves_the_handshakes_of_another_host(kind: str) -> None:
    app = shop(kind)
    for at in ("", "api"):
        where: dict[str, Any] = {"subdomain": at} if kind == "subdomains" else {"host": HOSTS[at]}
        app.add_url_rule("/talk", f"talk {at}", str, websocket=True, **where)
    inside = Host("api.shop.test", app=Router())
    table = RouteTable([NativeRoute(WebSocketRoute("/talk", str), "module", inside)], legacy_rules(app))
    assert [str(row.key) for row in table if row.switched] == ["WEBSOCKET api.shop.test/talk"]
    route, _ = table.routes(lambda row, native: native, lambda native: native)

    def match(host: str) -> Match:
        headers = [(b"host", host.encode()), (b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
        return route.matches({"type": "websocket", "path": "/talk", "query_string": b"", "headers": headers})[0]

    assert [match(host) for host in ("api.shop.test", "shop.test")] == [Match.FULL, Match.NONE]


@pytest.mark.parametrize("kind", ["subdomains", "host matching"])
def test_graft_routes_says_which_hosts_stay_legacy(kind: str) -> None:
    inside = Host("api.shop.test", app=Router())
    natives = [NativeRoute(Route("/items", native), "module", host) for host in (None, inside)]
    table = RouteTable(natives, legacy_rules(shop(kind)))
    (sentences,) = notes(table).values()
    assert "{tenant}.shop.test too, which stays legacy: Host(...) moves one." in sentences[-1]
    assert "api.shop.test" not in sentences[-1]


def test_two_hosts_may_have_one_path_and_one_host_may_not(natives: list[BaseRoute]) -> None:
    natives += [Route("/items", native), on_api(Route("/items", native))]
    assert [native.host for native in discover("hosts_natives")] == ["", "api.shop.test"]
    natives.append(on_api(Route("/items", native_api)))
    with pytest.raises(Exception, match=r"GET api\.shop\.test/items is claimed twice"):
        discover("hosts_natives")
