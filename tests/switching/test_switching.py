"""The switchboards together with a real Flask app, its mount, and switches.toml."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from flask import Flask, Response, g, request, session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from graft.bridge.native_bodies import NativeBodies
from graft.flaskside.side import LegacySide
from graft.mirroring.differences import difference_store, read_report
from graft.operations.edits import set_switch
from graft.routing.errors import error_handlers
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable
from graft.search.client import open_client
from graft.settings import Settings
from graft.switching.switching import Switching
from graft.types import RouteKey

KEY = RouteKey("GET", "/twin")


def shop() -> Flask:
    app = Flask("shop")
    app.secret_key = "k"

    @app.before_request
    def check() -> Response | None:
        g.checked = True
        return Response("closed", 403) if request.headers.get("x-closed") else None

    @app.after_request
    def stamp(response: Response) -> Response:
        response.headers["x-stamped"] = "yes"
        return response

    @app.route("/twin")
    def twin() -> dict[str, Any]:
        session["seen"] = session.get("seen", 0) + 1
        return {"side": request.args.get("same") or "legacy", "seen": session["seen"]}

    return app


async def native_twin(request: Request) -> JSONResponse:
    request.session["seen"] = request.session.get("seen", 0) + 1
    return JSONResponse({"side": request.query_params.get("same") or "native", "seen": request.session["seen"]})


async def native_only(request: Request) -> JSONResponse:
    return JSONResponse({"seen": request.session.get("seen")})


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    module = ModuleType("switching_shop")
    module.app = shop()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "switching_shop", module)
    return Settings.load(legacy="switching_shop:app", data=tmp_path, switches=tmp_path / "switches.toml")


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    legacy = LegacySide(settings)
    natives = [NativeRoute(Route("/twin", native_twin), "n"), NativeRoute(Route("/only", native_only), "n")]
    table = RouteTable(natives, legacy.rules)
    switching = Switching(settings, legacy)
    app = Starlette(
        routes=[*table.routes(switching.app, legacy.around), Mount("", app=legacy.mount)],
        middleware=[Middleware(FrontDoor, legacy=legacy.mount, legacy_has=legacy.has_path, user_of=legacy.user_of)],
        exception_handlers=error_handlers(legacy.error_handlers),
    )
    async with (
        open_client(settings) as elasticsearch,
        legacy.running(),
        switching.running(elasticsearch),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        client.elasticsearch = elasticsearch  # type: ignore[attr-defined]
        yield client


async def becomes(client: httpx.AsyncClient, side: str, **options: Any) -> httpx.Response:
    """Ask until that side answers."""
    response: httpx.Response | None = None

    async def answers() -> bool:
        nonlocal response
        response = await client.get("/twin", **options)
        return response.headers["x-served-by"] == side

    while not await answers():
        await anyio.sleep(0.01)
    assert response is not None
    return response


async def test_a_switched_route_starts_dark_and_follows_switches_toml(settings: Settings) -> None:
    async with gateway(settings) as client:
        assert (await client.get("/twin")).json()["side"] == "legacy"
        set_switch(settings.switches, KEY, share=100)
        assert (await becomes(client, "native")).json()["side"] == "native"
        set_switch(settings.switches, KEY, share=0)
        assert (await becomes(client, "legacy")).json()["side"] == "legacy"


async def test_both_sides_count_in_one_session(settings: Settings) -> None:
    set_switch(settings.switches, KEY, share=0, mirror=0)
    async with gateway(settings) as client:
        assert (await client.get("/twin")).json()["seen"] == 1
        set_switch(settings.switches, KEY, share=100)
        seen = (await becomes(client, "native")).json()["seen"]
        assert seen >= 2
        assert (await client.get("/only")).json()["seen"] == seen


async def test_the_apps_checks_run_around_a_switched_route_unless_it_opts_out(settings: Settings) -> None:
    set_switch(settings.switches, KEY, share=100)
    async with gateway(settings) as client:
        refused = await client.get("/twin", headers={"x-closed": "1"})
        assert (refused.status_code, refused.text) == (403, "closed")
        assert (await client.get("/twin")).headers["x-stamped"] == "yes"
        set_switch(settings.switches, KEY, hooks=False)

        async def opted_out() -> bool:
            return (await client.get("/twin", headers={"x-closed": "1"})).status_code == 200

        while not await opted_out():
            await anyio.sleep(0.01)


async def test_a_native_only_route_opts_in(settings: Settings) -> None:
    async with gateway(settings) as client:
        assert "x-stamped" not in (await client.get("/only")).headers
        set_switch(settings.switches, RouteKey("GET", "/only"), hooks=True)
        while "x-stamped" not in (await client.get("/only")).headers:
            await anyio.sleep(0.01)


async def test_what_differs_is_kept_and_what_is_the_same_is_not(settings: Settings) -> None:
    async with gateway(settings) as client:
        store = difference_store(settings, client.elasticsearch)  # type: ignore[attr-defined]
        await client.get("/twin?same=1")
        client.cookies.clear()
        await client.get("/twin")

        async def kept() -> list[Any]:
            return (await read_report(store, KEY)).groups

        groups: list[Any] = []
        while not groups:
            await anyio.sleep(0.01)
            groups = await kept()
        assert [group.what for group in groups] == ["body.side changed"]


def test_a_wsgi_app_that_is_no_flask_app_has_no_rules_and_only_the_limit_of_bodies_around_native_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("plain_shop")
    module.app = lambda environ, start_response: []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plain_shop", module)
    legacy = LegacySide(Settings.load(legacy="plain_shop:app", data=tmp_path, log_user="user_id"))
    assert (legacy.rules, legacy.has_path, legacy.user_of) == ((), None, None)
    around = legacy.around(native_twin, checks=True)  # type: ignore[arg-type]
    assert isinstance(around, NativeBodies)
    assert around.app is native_twin  # type: ignore[comparison-overlap]
