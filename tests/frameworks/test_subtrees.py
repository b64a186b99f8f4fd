"""A mount as one switched route: share, mirror, trip, hooks, WebSockets, lifespans, whatever the app below it is."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.parts.site import OpenGateway

LEGACY = """
from flask import Blueprint, Flask, g, jsonify, request, session
app = Flask(__name__, static_folder=None)
app.secret_key = "k"
reports = Blueprint("reports", __name__, url_prefix="/reports")

@reports.before_request
def check():
    if request.headers.get("x-closed"): return "closed", 403

@reports.get("/")
def index(): return "legacy index"

@reports.get("/<int:id>")
def one(id): return jsonify(id=id, total=40, root=request.script_root, path=request.path)

@reports.post("/new")
def new(): return "legacy new " + request.get_data(as_text=True), 201

@app.get("/reports")
def bare(): return "legacy without a slash"

@app.get("/home")
def home(): return "home"

app.register_blueprint(reports)
"""

STARLETTE = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

async def one(request):
    return JSONResponse({"id": request.path_params["id"], "total": 40, "root": "", "path": request.url.path})

async def index(request): return PlainTextResponse("native index " + request.state.opened + request.scope["root_path"])
async def new(request): return PlainTextResponse("native new " + (await request.body()).decode(), 201)
async def only(request): return PlainTextResponse("native only")
async def broken(request): raise RuntimeError("broken")

async def talk(websocket):
    await websocket.accept()
    await websocket.send_text("native")
    await websocket.close()

ended = []

@asynccontextmanager
async def lifespan(app):
    yield {"opened": "opened "}
    ended.append(True)

app_ = Starlette(routes=[Route("/", index), Route("/{id:int}", one), Route("/new", new, methods=["POST"]),
    Route("/only", only), WebSocketRoute("/talk", talk)], lifespan=lifespan)
routes = [Mount("/reports", app=app_)]
"""

FASTAPI = """
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.routing import Mount
below = FastAPI()

@below.get("/{id}")
async def one(id: int): return {"id": id, "total": 40, "root": "", "path": f"/reports/{id}"}

@below.get("/", response_class=PlainTextResponse)
async def index(): return "native index"

routes = [Mount("/reports", app=below)]
"""

LITESTAR = """
from litestar import Litestar, MediaType, get
from litestar.params import FromPath
from starlette.routing import Mount

@get("/{id:int}")
async def one(id: FromPath[int]) -> dict[str, object]:
    return {"id": id, "total": 40, "root": "", "path": f"/reports/{id}"}

@get("/", media_type=MediaType.TEXT)
async def index() -> str: return "native index"

routes = [Mount("/reports", app=Litestar([one, index], openapi_config=None))]
"""

DJANGO = """
from django.conf import settings
if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="k", LOGGING_CONFIG=None)
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
from starlette.routing import Mount

async def one(request, id):
    return JsonResponse({"id": id, "total": 40, "root": "", "path": request.path})

def index(request): return HttpResponse("native index", content_type="text/plain")

urlpatterns = [path("", index), path("<int:id>", one)]
routes = [Mount("/reports", app=get_asgi_application())]
"""

ALL = '["ANY /reports/*"]\nshare = 100\nmirror = 0\n'


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "t" * 32)


COUNTED = ("compared", "matched", "different", "failed", "skipped")


def row_of(client: TestClient, route: str = "ANY /reports/*", since: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the API says of ``route``; what was counted ``since``, as all tests of a process are counted together."""
    told = client.get("/_graft/api/routes", headers={"authorization": "Bearer " + "t" * 32}).json()
    (row,) = [row for row in told["routes"] if row["route"] == route]
    row["coverage"] = told["coverage"]
    if since is not None:
        row |= {name: row[name] - since[name] for name in COUNTED}
        row["served"] = {side: count - since["served"][side] for side, count in row["served"].items()}
    return row


def wait_for(
    client: TestClient, met: Callable[[dict[str, Any]], bool], since: dict[str, Any] | None = None
) -> dict[str, Any]:
    until = time.monotonic() + 60
    while not met(row := row_of(client, since=since)):
        assert time.monotonic() < until, row
        time.sleep(0.05)
    return row


@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")  # Django's body, where a mirrored run ends
@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "django"])
def test_any_app_below_a_mount_starts_dark_agrees_in_the_mirror_and_answers_at_share_100(
    open_gateway: OpenGateway, framework: str
) -> None:
    pytest.importorskip(framework, reason=f"pip install {framework}")
    source = {"starlette": STARLETTE, "fastapi": FASTAPI, "litestar": LITESTAR, "django": DJANGO}[framework]
    with open_gateway(LEGACY, below=source) as client:
        before = row_of(client)
        answer = client.get("/reports/7")
        assert (answer.json()["path"], answer.headers["x-served-by"]) == ("/reports/7", "legacy")
        row = wait_for(client, lambda row: row["compared"] + row["failed"] >= 1, before)
        assert (row["matched"], row["served"]["legacy"], row["switched"]) == (1, 1, True)
    with open_gateway(LEGACY, ALL) as client:
        before = row_of(client)
        answer = client.get("/reports/7")
        assert (answer.json()["id"], answer.headers["x-served-by"]) == (7, "native")
        assert client.get("/reports/").text.startswith("native index")
        assert row_of(client, since=before)["served"]["native"] == 2


def test_the_legacy_share_is_answered_as_if_there_was_no_mount(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, '["ANY /reports/*"]\nshare = 0\nmirror = 0\n', below=STARLETTE) as client:
        assert client.get("/reports/7").json() == {"id": 7, "total": 40, "root": "", "path": "/reports/7"}
        assert client.post("/reports/new", content=b"x").text == "legacy new x"
        assert client.delete("/reports/new").status_code == 405
        assert client.get("/reports").text == "legacy without a slash"
        answer = client.get("/reports/only")  # no path of Flask's: a native route that nothing is switched about
        assert (answer.text, answer.headers["x-served-by"]) == ("native only", "native")


def test_the_native_share_has_its_lifespan_and_all_methods(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, ALL, below=STARLETTE) as client:
        assert client.get("/reports/").text == "native index opened /reports"
        answer = client.post("/reports/new", content=b"x")
        assert (answer.status_code, answer.text) == (201, "native new x")
        assert client.get("/reports").text == "legacy without a slash"
        ended = sys.modules["natives.below"].ended
        assert not ended
    assert ended == [True]


def test_hooks_of_a_blueprint_below_the_mount_guard_the_native_side(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, ALL, below=STARLETTE) as client:
        answer = client.get("/reports/7", headers={"x-closed": "1"})
        assert (answer.status_code, answer.text) == (403, "closed")
        assert client.get("/reports/7").headers["x-served-by"] == "native"


def test_only_what_reads_is_mirrored_even_where_the_switch_says_mirror(open_gateway: OpenGateway) -> None:
    native = STARLETTE.replace("async def new(request): return", "async def new(request): ended.append(1); return")
    with open_gateway(LEGACY, '["ANY /reports/*"]\nmirror = 100\n', below=native) as client:
        before = row_of(client)
        for _ in range(3):
            assert client.post("/reports/new", content=b"x").text == "legacy new x"
        client.get("/reports/7")
        row = wait_for(client, lambda row: row["compared"] >= 1, before)
        assert (row["compared"], row["skipped"]) == (1, 0)
        assert sys.modules["natives.below"].ended == []


def test_a_404_of_the_app_where_flask_has_the_path_is_a_difference(open_gateway: OpenGateway) -> None:
    native = STARLETTE.replace('Route("/{id:int}", one), ', "")
    with open_gateway(LEGACY, below=native) as client:
        before = row_of(client)
        for _ in range(3):
            assert client.get("/reports/7").status_code == 200
        row = wait_for(client, lambda row: row["different"] >= 1, before)
        assert row["matched"] == 0


def test_a_failing_app_falls_back_and_trips_the_whole_subtree(open_gateway: OpenGateway) -> None:
    native = STARLETTE.replace('Route("/{id:int}", one)', 'Route("/{id:int}", broken)')
    switches = ALL + "trip = { least = 3 }\n"
    with open_gateway(LEGACY, switches, below=native) as client:
        for _ in range(3):
            answer = client.get("/reports/7")
            assert (answer.status_code, answer.headers["x-served-by"]) == (200, "legacy; fallback")
        assert client.get("/reports/7").headers["x-served-by"] == "legacy"
        assert client.post("/reports/new", content=b"x").headers["x-served-by"] == "legacy"
        row = wait_for(client, lambda row: row["tripped"] is not None)
        assert row["share"] == 0


def test_websockets_below_the_mount_go_by_the_share(open_gateway: OpenGateway) -> None:
    legacy = LEGACY + "\n@app.get('/reports/talk')\ndef talk(): return 'no WebSocket here', 400\n"
    with open_gateway(legacy, ALL, below=STARLETTE) as client, client.websocket_connect("/reports/talk") as talk:
        assert talk.receive_text() == "native"
    with (  # dark: Flask refuses it
        open_gateway(legacy) as client,
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/reports/talk"),
    ):
        pass


def test_a_websocket_of_the_app_alone_is_native_from_the_first_day(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, below=STARLETTE) as client:
        before = row_of(client)
        with client.websocket_connect("/reports/talk") as talk:
            assert talk.receive_text() == "native"
        assert row_of(client, since=before)["served"]["native"] == 1, "counted under the name of the subtree"


def test_shift_by_the_api_and_coverage(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, below=STARLETTE) as client:
        assert row_of(client)["coverage"]["rules"] == 5
        assert row_of(client)["coverage"]["native_rules"] == 0
        change = {"route": "ANY /reports/*", "share": 100, "mirror": 0}
        answer = client.patch("/_graft/api/routes", json=change, headers={"authorization": "Bearer " + "t" * 32})
        assert answer.status_code == 200, answer.text
        row = wait_for(client, lambda row: row["share"] == 100)
        assert (row["coverage"]["native_rules"], row["legacy"]) == (3, "reports.index and 2 more")
        until = time.monotonic() + 60
        while client.get("/reports/7").headers["x-served-by"] != "native":
            assert time.monotonic() < until
            time.sleep(0.05)


def test_the_gates_of_a_promotion_look_at_what_reads(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, below=STARLETTE) as client:
        headers = {"authorization": "Bearer " + "t" * 32}
        for _ in range(3):
            assert client.get("/reports/7").status_code == 200
        wait_for(client, lambda row: row["compared"] >= 1)
        told = client.get("/_graft/api/promotion", params={"route": "ANY /reports/*"}, headers=headers).json()
        assert {gate["gate"] for gate in told["gates"]} >= {"compared", "parity"}
        climb = client.post(
            "/_graft/api/promotion", json={"route": "ANY /reports/*", "action": "start"}, headers=headers
        )
        assert climb.status_code < 300, climb.text
        assert wait_for(client, lambda row: row["climb"] is not None)["mirror"] == 100


def test_a_path_that_flask_does_not_have_is_native_also_where_nothing_lies_beneath(open_gateway: OpenGateway) -> None:
    source = STARLETTE.replace('"/reports"', '"/new"')
    with open_gateway(LEGACY, below=source) as client:
        before = row_of(client, "ANY /new/*")
        assert client.get("/new/only").text == "native only"
        row = row_of(client, "ANY /new/*", before)
        assert (row["switched"], row["share"], row["served"]["native"]) == (False, 100, 1)


def test_a_host_around_a_mount_is_in_its_key(open_gateway: OpenGateway) -> None:
    source = STARLETTE.replace(
        'routes = [Mount("/reports", app=app_)]',
        "from starlette.routing import Host, Router\n"
        'routes = [Host("api.test", app=Router([Mount("/reports", app=app_)]))]',
    )
    with open_gateway(LEGACY, '["ANY api.test/reports/*"]\nshare = 100\nmirror = 0\n', below=source) as client:
        before = row_of(client, "ANY api.test/reports/*")
        assert client.get("/reports/7").headers["x-served-by"] == "legacy"
        assert client.get("/reports/7", headers={"host": "api.test"}).headers["x-served-by"] == "native"
        assert row_of(client, "ANY api.test/reports/*", before)["served"]["native"] == 1


def test_below_the_prefix_of_the_flask_app_both_sides_have_the_path(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_LEGACY_PREFIX", "/old")
    source = STARLETTE.replace(
        'Mount("/reports", app=app_)', 'Mount("/old/reports", app=app_), Route("/old/home", only)'
    )
    with open_gateway(LEGACY, below=source) as client:
        told = client.get("/old/reports/7")
        assert (told.json(), told.headers["x-served-by"]) == (
            {"id": 7, "total": 40, "root": "/old", "path": "/reports/7"},
            "legacy",
        )
        assert client.get("/old/home").text == "home", "a route that is no mount, too"
        assert client.get("/old/reports/only").text == "native only"
    with open_gateway(LEGACY, ALL.replace("/reports", "/old/reports")) as client:
        told = client.get("/old/reports/7")
        assert (told.json()["path"], told.headers["x-served-by"]) == ("/old/reports/7", "native")


def test_below_a_gateway_that_is_mounted_itself_both_sides_have_the_path(open_gateway: OpenGateway) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    for switches, side in (("", "legacy"), (ALL, "native")):
        with open_gateway(LEGACY, switches, below=STARLETTE) as client:
            outside = TestClient(Starlette(routes=[Mount("/gateway", app=client.app)]))
            told = outside.get("/gateway/reports/7")
            assert (told.status_code, told.headers["x-served-by"], told.json()["id"]) == (200, side, 7)
            assert outside.get("/gateway/reports/only").text == "native only"


def test_a_trip_is_told_once_whatever_kind_of_request_comes_next(
    open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture
) -> None:
    native = STARLETTE.replace('Route("/{id:int}", one)', 'Route("/{id:int}", broken)')
    with open_gateway(LEGACY, ALL + "trip = { least = 3 }\n", below=native) as client:
        switching = logging.getLogger("graft.switching.switchboard")
        switching.addHandler(caplog.handler)
        try:
            for _ in range(3):
                client.get("/reports/7")
            assert client.post("/reports/new", content=b"x").headers["x-served-by"] == "legacy"
        finally:
            switching.removeHandler(caplog.handler)
    told = [record.getMessage() for record in caplog.records if "was taken from the native side" in record.getMessage()]
    assert len({id(record) for record in caplog.records if "was taken" in record.getMessage()}) == 1, told
    assert "The legacy side answers now" in told[0]


MCP = """
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import Mount
server = MCPServer("Shop")

@server.tool()
def add(a: int, b: int) -> int:
    return a + b

routes = [Mount("/tools", app=server.streamable_http_app(
    stateless_http=True, json_response=True,
    transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)))]
"""


def test_an_mcp_server_below_a_mount_has_its_session_manager_and_goes_by_the_share(open_gateway: OpenGateway) -> None:
    pytest.importorskip("mcp", reason="pip install mcp")
    legacy = LEGACY + "\n@app.post('/tools/mcp')\ndef tools(): return 'legacy tools'\n"
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 2, "b": 3}}}
    headers = {"accept": "application/json, text/event-stream"}
    with open_gateway(legacy, below=MCP) as client:
        assert client.post("/tools/mcp", json=call, headers=headers).text == "legacy tools"
    del sys.modules["natives.below"]  # a server of this kind runs once
    with open_gateway(legacy, ALL.replace("reports", "tools")) as client:
        answer = client.post("/tools/mcp", json=call, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"]["content"][0]["text"] == "5"
        assert answer.headers["x-served-by"] == "native"
