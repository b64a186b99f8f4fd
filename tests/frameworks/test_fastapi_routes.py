"""Path operations as native routes: switched, mirrored, fallen back, with the legacy side's session and state."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from graft.control.offline import table_of
from graft.errors import NativeRoutesError
from graft.routing.openapi import document
from graft.settings import Settings
from tests.parts.site import OpenGateway

pytest.importorskip("fastapi", reason="pip install fastapi")

from graft.fastapi import legacy_of, user_of  # it imports fastapi

LEGACY = """
from flask import Flask, jsonify, session
app = Flask(__name__)
app.secret_key = "k"

@app.get("/items/<int:id>")
def item(id): return jsonify(side="legacy", id=id)

@app.post("/login")
def login(): session["_user_id"] = "ada"; return "in"

@app.get("/who")
def who(): return session.get("_user_id", "nobody") + session.get("seen", "")

@app.get("/both")
def both(): return "legacy"
"""

ITEMS = """
from fastapi import APIRouter
router = APIRouter()

@router.get("/items/{id}")
async def item(id: int): return {"side": "native", "id": id}
"""

NATIVE = '["GET /items/{id}"]\nshare = 100\n'


def test_a_path_operation_that_twins_a_rule_starts_dark_and_moves(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, items=ITEMS) as client:
        answer = client.get("/items/3")
        assert (answer.json()["side"], answer.headers["x-served-by"]) == ("legacy", "legacy")
    with open_gateway(LEGACY, NATIVE) as client:
        answer = client.get("/items/3")
        assert (answer.json(), answer.headers["x-served-by"]) == ({"side": "native", "id": 3}, "native")
        assert client.get("/items/x").status_code == 422
        assert client.post("/items/3").status_code == 405


def test_a_failing_operation_falls_back_and_the_log_has_its_traceback(
    open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ITEMS.replace("return {", "raise RuntimeError('native is broken'); return {")
    with open_gateway(LEGACY, NATIVE, items=broken) as client:
        caplog.clear()
        logging.getLogger("graft").addHandler(caplog.handler)
        try:
            answer = client.get("/items/3")
        finally:
            logging.getLogger("graft").removeHandler(caplog.handler)
    assert (answer.json()["side"], answer.headers["x-served-by"]) == ("legacy", "legacy; fallback")
    assert "RuntimeError: native is broken" in caplog.text


def test_typed_dependencies_give_what_the_worker_has(open_gateway: OpenGateway) -> None:
    source = """
from fastapi import APIRouter
from graft.fastapi import CurrentUser, Elasticsearch, Legacy, LegacySession, Tasks
from starlette.responses import StreamingResponse
import flask
router = APIRouter()

@router.get("/me")
async def me(user: CurrentUser, session: LegacySession, legacy: Legacy, search: Elasticsearch, tasks: Tasks):
    session["seen"] = "!"
    path = await legacy.run(lambda: flask.request.path)
    return [user, path, legacy.url_for("item", id=4), type(search).__name__, type(tasks).__name__]

@router.get("/streamed")
async def streamed(legacy: Legacy):
    async def parts():
        for _ in range(2):
            yield await legacy.run(lambda: flask.request.path)
    return StreamingResponse(legacy.stream_with_context(parts()))
"""
    with open_gateway(LEGACY, me=source) as client:
        assert client.get("/me").json()[0] is None
        client.post("/login")
        assert client.get("/me").json() == ["ada", "/me", "/items/4", "AsyncElasticsearch", "Runner"]
        assert client.get("/who").text == "ada!"
        assert client.get("/streamed").text == "/streamed/streamed"


def test_websockets_of_a_fastapi_app(open_gateway: OpenGateway) -> None:
    source = """
from fastapi import FastAPI, WebSocket
app = FastAPI()

@app.websocket("/talk/{name}")
async def talk(websocket: WebSocket, name: str, q: int = 0):
    await websocket.accept()
    await websocket.send_json([name, q, await websocket.receive_text()])
"""
    with open_gateway(LEGACY, talk=source) as client, client.websocket_connect("/talk/ada?q=2") as socket:
        socket.send_text("hi")
        assert socket.receive_json() == ["ada", 2, "hi"]


def test_urls_are_found_among_all_native_routes_the_apps_own_first(open_gateway: OpenGateway) -> None:
    one = """
from fastapi import APIRouter, Request
router = APIRouter()
@router.get("/one", name="shared")
def a(request: Request): return [request.url_for("shared").path, request.url_for("only_two").path]
"""
    two = """
from starlette.responses import JSONResponse
from starlette.routing import Route
async def b(request): return JSONResponse(request.url_for("shared").path)
async def c(request): return JSONResponse("")
routes = [Route("/two", b, name="two"), Route("/only-two", c, name="only_two"), Route("/shared", c, name="shared")]
"""
    with open_gateway(LEGACY, one=one, a_two=two) as client:
        assert client.get("/one").json() == ["/one", "/only-two"]
        assert client.get("/two").json() == "/shared"


def test_an_app_and_its_routers_are_served_once(open_gateway: OpenGateway) -> None:
    main = "from fastapi import FastAPI\nfrom natives import items\napp = FastAPI()\napp.include_router(items.router)\n"
    with open_gateway(LEGACY, NATIVE, items=ITEMS, main=main) as client:
        assert client.get("/items/3").json()["side"] == "native"


def test_the_pages_of_one_app_hide_nothing_of_the_legacy_app(open_gateway: OpenGateway) -> None:
    legacy = LEGACY + "\n@app.get('/docs')\ndef docs(): return 'legacy docs'\n"
    with open_gateway(legacy, main="from fastapi import FastAPI\napp = FastAPI()\n") as client:
        assert client.get("/docs").text == "legacy docs"


def test_a_lifespan_that_fails_ends_the_start_in_a_sentence(open_gateway: OpenGateway) -> None:
    source = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
@asynccontextmanager
async def lifespan(app):
    raise RuntimeError("no database")
    yield
app = FastAPI(lifespan=lifespan)
@app.get("/x")
def x(): return 1
"""
    with (
        pytest.raises(NativeRoutesError, match=r"natives\.main: its lifespan fails .* RuntimeError: no database"),
        open_gateway(LEGACY, main=source),
    ):
        pass


def test_no_framework_is_imported_for_a_module_of_starlettes(open_gateway: OpenGateway) -> None:
    import subprocess
    import sys

    script = (
        "import sys, graft; graft.gateway(legacy='shop:app', native='natives', serve=False);"
        "sys.exit(str([name for name in ('fastapi', 'quart') if name in sys.modules]))"
    )
    plain = "from starlette.routing import Route\nasync def x(request): ...\nroutes = [Route('/x', x)]\n"
    with open_gateway(LEGACY, plain=plain):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_what_an_app_hides_from_its_description_is_in_no_description(open_gateway: OpenGateway) -> None:
    source = """
from fastapi import FastAPI
app = FastAPI(openapi_url="/own/openapi.json", docs_url="/own/docs")
@app.get("/hidden", include_in_schema=False)
def hidden(): return 1
@app.get("/shown")
def shown(): return 2
"""
    with open_gateway(LEGACY, main=source) as client:
        assert "/own/openapi.json" in client.get("/own/docs").text
        assert list(client.get("/own/openapi.json").json()["paths"]) == ["/shown"]
        assert client.get("/hidden").json() == 1
        described = document(table_of(Settings.load(legacy="shop:app", native="natives")), native_only=True)
    assert list(described["paths"]) == ["/shown"]


OVERRIDDEN = """
from fastapi import FastAPI
from graft.fastapi import CurrentUser, Legacy
app = FastAPI()
@app.get("/links")
def links(legacy: Legacy, user: CurrentUser): return [legacy.url_for("item", id=4), user]
"""


def test_what_graft_gives_is_overridden_as_any_dependency_also_while_it_runs(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, links=OVERRIDDEN) as client:
        client.post("/login")
        assert client.get("/links").json() == ["/items/4", "ada"]
        overrides = sys.modules["natives.links"].app.dependency_overrides
        overrides[user_of] = lambda: "bob"
        overrides[legacy_of] = lambda: SimpleNamespace(url_for=lambda endpoint, **values: endpoint)
        assert client.get("/links").json() == ["item", "bob"]
        overrides.clear()
        assert client.get("/links").json() == ["/items/4", "ada"]


def test_lifespans_begin_and_end_with_the_gateways(open_gateway: OpenGateway) -> None:
    source = """
from contextlib import asynccontextmanager
from fastapi import APIRouter, FastAPI
events = []
@asynccontextmanager
async def lifespan(app):
    events.append("app begins")
    yield
    events.append("app ends")
def begin(): events.append("router begins")
def end(): events.append("router ends")
inner = APIRouter(on_startup=[begin], on_shutdown=[end])
@inner.get("/events")
def show(): return events
app = FastAPI(lifespan=lifespan)
app.include_router(inner)
"""
    with open_gateway(LEGACY, main=source) as client:
        assert set(client.get("/events").json()) == {"app begins", "router begins"}
        events = sys.modules["natives.main"].events
    assert set(events[-2:]) == {"app ends", "router ends"}


def test_an_operation_is_mirrored_and_compared_field_by_field(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_MIRROR_BUDGET", "100")
    with open_gateway(LEGACY, items=ITEMS) as client:
        row = wait_for(lambda: row_of(client) if client.get("/items/3") and row_of(client)["different"] else None)
        asked = {"route": "GET /items/{id}"}
        found = wait_for(
            lambda: client.get("/_graft/api/differences", params=asked, headers=token()).json()["differences"]
        )
    assert (row["native"], row["share"]) == ("natives.items.item", 0)
    assert "body.side" in str(found)


def test_an_operation_that_goes_on_failing_trips(open_gateway: OpenGateway) -> None:
    broken = ITEMS.replace("return {", "raise RuntimeError('native is broken'); return {")
    with open_gateway(LEGACY, NATIVE, items=broken) as client:
        row = wait_for(lambda: row_of(client) if client.get("/items/3") and row_of(client)["tripped"] else None)
        assert (row["share"], client.get("/items/3").headers["x-served-by"]) == (0, "legacy")


def test_an_operation_is_promoted_by_what_the_mirror_saw(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_MIRROR_BUDGET", "100")
    gates = "{ compared = 3, parity = 50, errors = 50, status = 50, slower = 1000, uncompared = 100, confidence = 50 }"
    switches = f'["GET /items/{{id}}"]\nladder = [100]\nbake = 0\nwatch = 1\ngates = {gates}\n'
    same = ITEMS.replace('"native"', '"legacy"')
    with open_gateway(LEGACY, switches, items=same) as client:
        asked = {"route": "GET /items/{id}", "action": "start"}
        assert client.post("/_graft/api/promotion", json=asked, headers=token()).status_code < 300
        wait_for(lambda: client.get("/items/3").headers["x-served-by"] == "native")
        assert row_of(client)["share"] == 100


def test_a_climb_stops_where_the_operation_differs(open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_MIRROR_BUDGET", "100")
    with open_gateway(LEGACY, items=ITEMS) as client:
        wait_for(lambda: client.get("/items/3") and row_of(client)["different"] >= 3)
        told = client.get("/_graft/api/promotion", params={"route": "GET /items/{id}"}, headers=token()).json()
        assert {gate["gate"]: gate for gate in told["gates"]}["parity"]["verdict"] != "open", told


def token() -> dict[str, str]:
    return {"authorization": f"Bearer {Path('var/admin-token').read_text().strip()}"}


def row_of(client: TestClient) -> Any:
    rows = client.get("/_graft/api/routes", headers=token()).json()["routes"]
    return next(each for each in rows if each["route"] == "GET /items/{id}")


def wait_for(look: Callable[[], Any]) -> Any:
    """What ``look`` gives as soon as it gives something."""
    end = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < end, "never so"
        time.sleep(0.02)
    return found
