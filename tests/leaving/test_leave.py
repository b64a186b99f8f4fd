"""``graft leave``: what is left to do, and an app without Graft that answers as the gateway did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from tests.cli.project import Project, project_in

HERE = Path(__file__).parent
VISIT = HERE / "visit.py"
FLASKR = HERE.parent / "cli" / "flaskr" / "flaskr"
NATIVE = "share = 100\nmirror = 0\n"

ANNA = {"data": {"username": "änna", "password": "s3cret"}}
JSON = {"headers": {"accept": "application/json"}}
PAGES = ("/", "/hello", "/auth/login", "/auth/register", "/create", "/1/update", "/static/style.css", "/none")
FLASKRS = [
    *((method, path, {}) for path in PAGES for method in ("GET", "HEAD")),
    *((method, "/create", {}) for method in ("OPTIONS", "PUT", "DELETE")),
    *(("GET", path, {}) for path in ("/hello/", "/x/update", "/static/none.css")),
    ("GET", "/none", JSON),
    ("POST", "/1/delete", {}),
    ("POST", "/auth/register", ANNA),
    ("POST", "/auth/register", ANNA),
    ("GET", "/auth/register", {}),
    ("POST", "/auth/login", {"data": {"username": "änna", "password": "wrong"}}),
    ("POST", "/auth/login", ANNA),
    ("GET", "/", {}),
    ("POST", "/create", {"data": {"title": "Erster", "body": "<b>näh</b>"}}),
    ("POST", "/create", {"data": {"title": "", "body": ""}}),
    ("GET", "/", {}),
    ("GET", "/7/update", {}),
    ("GET", "/7/update", JSON),
    ("POST", "/1/update", {"data": {"title": "Zweiter", "body": "x" * 300_000}}),
    ("GET", "/1/update", {}),
    ("GET", "/auth/logout", {}),
    ("GET", "/1/update", {}),
    ("POST", "/auth/login", ANNA),
    ("POST", "/1/delete", {}),
    ("GET", "/", {}),
]
FLASKRS_ROUTES = (
    *("GET /", "GET /hello", "GET /auth/logout", "POST /{id:int}/delete"),
    *(f"{method} {path}" for path in ("/auth/login", "/auth/register") for method in ("GET", "POST")),
    *(f"{method} {path}" for path in ("/create", "/{id:int}/update") for method in ("GET", "POST")),
)


def visited(folder: Path, module: str, asks: list[Any], **environment: str) -> list[Any]:
    import os

    done = subprocess.run(
        [sys.executable, VISIT, module],
        cwd=folder,
        input=json.dumps(asks),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def differing(before: list[Any], after: list[Any]) -> list[str]:
    """Each answer that differs, with where its text begins to."""
    told = []
    for was, now in zip(before, after, strict=True):
        if was != now:
            same = zip(was[4], now[4], strict=False)
            at = next((at for at, (one, other) in enumerate(same) if one != other), 0)
            headers = (
                [header for header in was[3] if header not in now[3]],
                [one for one in now[3] if one not in was[3]],
            )
            shown = (text[max(0, at - 60) : at + 60] for text in (was[4], now[4]))
            told.append(f"{was[:3]} {now[2]} {headers} {' | '.join(shown)}")
    return told


def switches(*routes: str) -> str:
    return "".join(f'["{route}"]\n{NATIVE}' for route in routes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    for found in project_in(folder, monkeypatch):
        found.write("gateway.py", "import graft\napp = graft.gateway()\n")
        yield found


@pytest.fixture
def flaskr(project: Project) -> Project:
    """Flask's tutorial app with a gateway, and native routes for all of it."""
    shutil.copytree(FLASKR, project.folder / "flaskr")
    natives = project.folder / "async_routes"
    shutil.copytree(HERE / "flaskr_natives", natives, ignore=shutil.ignore_patterns("__pycache__"))
    project.write(".env", "GRAFT_LEGACY=flaskr:create_app\n")
    project.write("requirements.txt", "flask\n# The async side, and what serves both.\ngraft @ file:///graft\n")
    return project


def init_database(folder: Path) -> None:
    command = "import sys; sys.path.insert(0, '.'); from flaskr import create_app; from flaskr.db import init_db\n"
    command += "with create_app().app_context(): init_db()"
    subprocess.run([sys.executable, "-c", command], cwd=folder, check=True, timeout=60)


def test_flaskr_without_graft_answers_as_before(flaskr: Project, tmp_path: Path) -> None:
    flaskr.write("switches.toml", switches(*FLASKRS_ROUTES))
    left = tmp_path / "left"
    done = flaskr.run("leave", str(left))
    assert (done.exit_code, "Flask stays as a library" in done.stdout) == (0, True), done.stderr
    assert f"graft verify --app {left}/asgi:app" in done.stdout
    assert "graft" not in (left / "requirements.txt").read_text()
    init_database(flaskr.folder)
    init_database(left)
    before, after = visited(flaskr.folder, "gateway", FLASKRS), visited(left, "asgi", FLASKRS)
    assert {answer[2] for answer in before} >= {200, 302, 404, 405}
    told = differing(before, after)
    assert not told, "\n".join(told)


def test_what_is_left_is_said_and_nothing_is_written(flaskr: Project, tmp_path: Path) -> None:
    natives = flaskr.folder / "async_routes"
    (natives / "extra.py").write_text("from graft.settings import Settings\nfrom graft.tasks import start\n")
    text = switches(*FLASKRS_ROUTES[1:]).replace("share = 100", "share = 10", 1)
    flaskr.write("switches.toml", text)
    blog = (natives / "blog.py").read_text()
    (natives / "blog.py").write_text(blog.replace('    Route("/create", create, methods=["GET", "POST"]),\n', ""))
    left = tmp_path / "left"
    done = flaskr.run("leave", str(left))
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "GET /: Flask answers 100 % of it",
        "GET /hello: Flask answers 90 % of it",
        "GET /create: Flask answers it, there is no native route",
        "POST /create: Flask answers it, there is no native route",
        "async_routes/extra.py:1: graft.settings has no stand-in",
    ]
    assert "not yet: 5 things are left" in done.stderr
    assert not left.exists()


def test_a_folder_that_has_something_is_left_alone(flaskr: Project) -> None:
    flaskr.write("switches.toml", switches(*FLASKRS_ROUTES))
    done = flaskr.run("leave", str(flaskr.folder))
    assert (done.exit_code, "nothing is overwritten" in done.stderr) == (2, True)


SHOP = """
import os
from flask import Flask, jsonify, session
app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

@app.get("/items/<int:id>")
def item(id): return jsonify(id=id)

@app.get("/reports/<name>")
def report(name): return name
"""
ITEMS = """
from contextlib import asynccontextmanager
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from graft.fastapi import CurrentUser, LegacySession, Tasks

@asynccontextmanager
async def lifespan(app):
    yield {"opened": "yes"}

details = APIRouter(prefix="/details")

@details.get("/{id}")
async def detail(id: int, n: int = 0):
    if id < 0: raise HTTPException(410, "gone")
    return {"detail_of": id}

app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
app.include_router(details)

@app.get("/items/{id:int}")
async def item(id: int, request: Request):
    if id == 4: raise HTTPException(404, "no such item")
    return {"id": id, "opened": request.state.opened}

@app.get("/who")
async def who(user: CurrentUser, session: LegacySession):
    session["seen"] = session.get("seen", 0) + 1
    return [user, session["seen"]]
"""
WORK = """
from fastapi import APIRouter
from graft import tasks
from graft.fastapi import Elasticsearch, Tasks
router = APIRouter()

async def work(text): tasks.step(text)

@router.post("/work")
async def begin(tasks: Tasks): return {"task": tasks.start(work, "half way")}

@router.get("/found")
async def found(search: Elasticsearch):
    await search.index(index="stock", id="1", document={"n": 1}, refresh=True)
    return (await search.count(index="stock"))["count"]
"""
REPORTS = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

@asynccontextmanager
async def lifespan(app):
    yield {"below": "ran"}

async def report(request):
    return PlainTextResponse(request.path_params["name"] + request.state.below + request.scope["root_path"])

async def slashed(request): return JSONResponse(request.state.request_id == request.headers.get("x-request-id"))

routes = [
    Mount("/reports", app=Starlette(routes=[Route("/{name}", report)], lifespan=lifespan)),
    Route("/slashed/", slashed),
]
"""
HOOKED = """
import asyncio
LOCK = asyncio.Lock()

@app.get("/csv")
def table(): return app.response_class(f"{n},{n}\\n" for n in range(3))

@app.get("/view/<name>")
def view(name): return {"name": name}, 203, {"x-view": "seen"}

@app.get("/locked")
def locked(): return "legacy"

@app.before_request
def refuse():
    from flask import request
    if request.headers.get("x-closed"): return "closed", 403

@app.after_request
def mark(response):
    response.headers["x-hook"] = "seen"
    return response
"""
FLASKS = """
from flask import current_app, request as flasks
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
import shop

def dispatched(): return current_app.make_response(current_app.dispatch_request())

async def view(request): return await request.state.legacy.run(request, dispatched)

async def table(request):
    async def lines():
        for n in range(3): yield f"{n},{n}\\n"
    return StreamingResponse(lines(), media_type="text/csv")

async def path():
    async with shop.LOCK:
        await __import__("asyncio").sleep(0.001)
        return flasks.path

async def locked(request):
    if request.query_params: raise HTTPException(409, "so")
    return PlainTextResponse(await request.state.legacy.run(request, path))

routes = [Route("/csv", table), Route("/view/{name}", view), Route("/locked", locked)]
"""
HOOKEDS = [
    *(("GET", path, {}) for path in ("/csv", "/view/a", "/locked", "/locked", "/locked?x=1", "/view/a/b")),
    ("HEAD", "/csv", {}),
    ("GET", "/details/3?n=x", {}),
    ("GET", "/details/-1", {}),
    ("GET", "/csv", {"headers": {"x-closed": "1"}}),
    ("POST", "/view/a", {"content": "x"}),
]
SHOPS = [
    ("GET", "/items/3", {}),
    ("GET", "/items/4", {}),
    ("GET", "/items/x", {}),
    ("GET", "/details/3", {}),
    ("GET", "/details/x", {}),
    ("OPTIONS", "/items/3", {"headers": {"origin": "https://shop.example", "access-control-request-method": "GET"}}),
    ("OPTIONS", "/items/3", {}),
    ("GET", "/docs", {}),
    ("POST", "/work", {}),
    ("GET", "/found", {}),
    ("GET", "/reports/june", {}),
    ("GET", "/slashed/", {}),
    ("GET", "/who", {}),
    ("GET", "/who", {}),
    ("GET", "/none", {}),
]


@pytest.mark.parametrize("keeps", [False, True], ids=["without Flask", "with its hooks"])
def test_a_shop_in_fastapi_answers_as_before(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    pytest.importorskip("fastapi", reason="pip install fastapi")
    monkeypatch.setenv("SECRET_KEY", "of the shop")
    project.write("shop.py", SHOP + HOOKED * keeps)
    modules = {
        "__init__": "",
        "items": ITEMS,
        "work": WORK,
        "reports": REPORTS,
        **({"flasks": FLASKS} if keeps else {}),
    }
    for name, source in modules.items():
        project.write(f"async_routes/{name}.py", source)
    project.write(".env", "GRAFT_LEGACY=shop:app\n")
    hooked = ("GET /csv", "GET /view/{name}", "GET /locked")
    text = switches("GET /items/{id:int}", "ANY /reports/*", *(hooked if keeps else ()))
    if keeps:
        text += '["GET /details/{id}"]\nerrors = "legacy"\n'
    project.write("switches.toml", text)
    left = tmp_path / "left"
    done = project.run("leave", str(left))
    assert done.exit_code == 0, done.output
    assert (left / "async_support" / "flask_app.py").exists() is keeps
    assert ("Flask is gone" in done.stdout) is not keeps
    who = ("GET", "/who", {"cookies": {"session": flasks_cookie({"user_id": 7, "seen": 4})}})
    redirect = ("GET", "/slashed?a=b", {})  # it passes the hooks here, as those of Flask do
    asks = [*SHOPS, *(HOOKEDS if keeps else [redirect]), who]
    before, after = visited(project.folder, "gateway", asks), visited(left, "asgi", asks)
    assert before[-1][4] == '["7",5]'
    told = differing(before, after)
    assert not told, "\n".join(told)


def flasks_cookie(content: dict[str, Any]) -> str:
    app = Flask("shop")
    app.secret_key = "of the shop"
    signer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert signer is not None
    return str(signer.dumps(content))


def test_the_test_that_it_writes_passes(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the shop")
    project.write("async_routes/__init__.py", "")
    project.write("async_routes/reports.py", REPORTS)
    project.write("shop.py", SHOP.partition("@app.get")[0])
    project.write(".env", "GRAFT_LEGACY=shop:app\n")
    assert "Every route is native" in project.run("leave").stdout
    left = tmp_path / "left"
    assert project.run("leave", str(left)).exit_code == 0
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=left, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


MUCH = """
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

main, inner = Flask("main"), Flask("inner")
main.secret_key = "k"

@main.get("/items/<int:id>")
def item(id): return str(id)

app = DispatcherMiddleware(main, {"/below": inner})
"""
MANY = """
from quart import Blueprint
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route, Router
import async_support

notes = Blueprint("notes", "notes")

@notes.get("/notes")
async def show(): return "notes"

async def item(request): return PlainTextResponse("")

routes = [Route("/items/{id:int}", item), Host("api.example.org", app=Router([Route("/x", item)]), name="api")]
"""


def test_all_that_cannot_be_written_down_is_named(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("quart", reason="pip install quart")
    project.write("shop.py", MUCH)
    project.write("async_support.py", "")
    project.write("async_routes/__init__.py", MANY)
    project.write(".env", "GRAFT_LEGACY=shop:app\n")
    project.write("switches.toml", switches("GET /items/{id:int}") + 'errors = "legacy"\n')
    done = project.run("leave", str(tmp_path / "left"))
    assert done.exit_code == 1
    told = done.stdout
    for sentence in (
        'GET /items/{id:int}: its switch says errors = "legacy"',
        "async_routes: a Quart app or blueprint",
        "routes of one host, in a Host",
        "a dispatcher with several Flask apps",
        "async_support: the project has a module of that name",
    ):
        assert sentence in told, told
