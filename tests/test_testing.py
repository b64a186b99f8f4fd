"""The pytest plugin, in projects of its own: their tests run by pytest as a user has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from graft.testing import Client, User

APP = """
from flask import Flask, jsonify, redirect, request, session
app = Flask(__name__)
app.secret_key = "k"
@app.get("/same/<int:n>")
def same(n): return jsonify(n=n, who=session.get("user"))
@app.get("/other")
def other(): return jsonify(rows=[{"price": 1}, {"price": 2}])
@app.get("/broken")
def broken(): return "legacy"
@app.get("/alone")
def alone(): return "legacy"
@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        session["csrf"] = "token"
        return '<form method=post><input type=hidden name=csrf value="token"><input name=user></form>'
    if request.form.get("csrf") != session.get("csrf"): return "csrf", 400
    session["user"] = request.form["user"]
    return redirect("/")
"""

NATIVE = """
from starlette.responses import JSONResponse
from starlette.routing import Route
async def same(request): return JSONResponse({"n": request.path_params["n"], "who": request.session.get("user")})
async def other(request): return JSONResponse({"rows": [{"price": 1}, {"price": 3}]})
async def broken(request): raise RuntimeError("no")
async def indexed(request):
    await request.state.elasticsearch.index(index="i", document={"a": 1}, refresh=True)
    return JSONResponse((await request.state.elasticsearch.count(index="i"))["count"])
routes = [Route("/same/{n:int}", same), Route("/other", other), Route("/broken", broken), Route("/indexed", indexed)]
"""

TESTS = """
import pytest

def test_sides(gateway, native, legacy):
    assert gateway("/same/1").served_by == "legacy"
    assert native("/same/1").served_by == "native"
    assert legacy.get("/same/1").served_by == "legacy"

def test_parity(assert_parity, as_user):
    ada = as_user("/login", user="ada")
    ours, _ = assert_parity("GET", "/same/3", user=ada)
    assert ours.json() == {"n": 3, "who": "ada"}
    assert ada.native("/same/3").json()["who"] == "ada"
    assert assert_parity("GET", "/same/3")[0].json()["who"] is None

def test_ignored(assert_parity):
    assert_parity("GET", "/other", ignore=["body.rows[*].price"])

def test_differs(assert_parity):
    assert_parity("GET", "/other")

def test_falls_back(native):
    native("/broken")

def test_not_native(native):
    native("/alone")

@pytest.mark.parametrize("time", [1, 2])
def test_search_begins_empty(native, elasticsearch, time):
    assert not elasticsearch.indices.exists(index="i")
    elasticsearch.index(index="i", document={"a": 0}, refresh=True)
    assert native("/indexed").json() == 2
"""


ASYNC_TESTS = """
import asyncio
MARKS
async def test_in_a_loop(native, elasticsearch, assert_parity, as_user):
    await asyncio.sleep(0)
    elasticsearch.index(index="i", document={"a": 0}, refresh=True)
    assert native("/indexed").json() == 2
    assert_parity("GET", "/same/3", user=as_user("/login", user="ada"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "natives").mkdir()
    (tmp_path / "natives" / "__init__.py").touch()
    (tmp_path / "natives" / "pages.py").write_text(NATIVE)
    (tmp_path / ".env").write_text("GRAFT_LEGACY=shop:app\nGRAFT_NATIVE=natives\n")
    (tmp_path / "test_pages.py").write_text(TESTS)
    return tmp_path


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This test is one of the project's."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("natives", "shop")]:
        del sys.modules[name]


@pytest.mark.usefixtures("here")
class TestHere:
    def test_each_side(self, gateway: Client, native: Client, legacy: Client) -> None:
        assert [client("/same/1").served_by for client in (gateway, native, legacy)] == ["legacy", "native", "legacy"]
        for method in ("head", "post", "put", "patch", "delete"):
            assert getattr(gateway, method)("/same/1").status_code in (200, 405)

    def test_parity(self, assert_parity: Callable[..., Any], as_user: Callable[..., User]) -> None:
        ada = as_user("/login", user="ada")
        assert as_user("/login", user="ada") is ada
        ours, theirs = assert_parity("GET", "/same/3", user=ada)
        assert ours.json() == theirs.json() == {"n": 3, "who": "ada"}
        with pytest.raises(pytest.fail.Exception, match="differ in 1 place"):
            assert_parity("GET", "/other")
        assert_parity("GET", "/other", ignore=["body.rows[*].price"])

    def test_what_a_side_can_not_answer(self, native: Client, as_user: Callable[..., User]) -> None:
        for path in ("/broken", "/alone"):
            with pytest.raises(pytest.fail.Exception, match=path):
                native(path)
        with pytest.raises(pytest.fail.Exception, match="did not log in"):
            as_user("/login", csrf="wrong")


def run(project: Path, *options: str, alone: bool = False) -> subprocess.CompletedProcess[str]:
    """pytest as a user has it; ``alone`` without the plugins that happen to be installed here."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "PYTEST_"))}
    if alone:
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        options = ("-p", "graft.testing", *options)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", "--tb=short", *options]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("marks", "options"),
    [
        ("import pytest; pytestmark = pytest.mark.asyncio", ("-o", "asyncio_mode=strict")),
        ("", ("-o", "asyncio_mode=auto")),
        ("import pytest; pytestmark = pytest.mark.anyio", ("-p", "no:asyncio")),
    ],
    ids=["asyncio strict", "asyncio auto", "anyio"],
)
def test_the_fixtures_in_async_tests(project: Path, marks: str, options: tuple[str, ...]) -> None:
    (project / "test_pages.py").write_text(ASYNC_TESTS.replace("MARKS", marks))
    (project / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\ndef anyio_backend(): return 'asyncio'\n"
    )
    done = run(project, *options)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_the_fixtures_of_a_project(project: Path, options: tuple[str, ...]) -> None:
    done = run(project, *options, alone=not options)
    said = done.stdout
    assert "3 failed, 5 passed" in said, said + done.stderr
    assert "GET /other: native and legacy differ in 1 place" in said
    assert "body.rows[1].price changed\n    native: 3\n    legacy: 2" in said
    assert "GET /broken: the native side failed, and the legacy side answered" in said
    assert "GET /alone: the native side has no such route" in said
    assert not (project / "var").exists()


def test_without_the_fixtures_nothing_of_graft_is_imported(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test(): assert not {'starlette', 'flask', 'elasticsearch'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "PYTEST_"))}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
