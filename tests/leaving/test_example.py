"""The example, once all of it is native, without Graft: the portal with its accounts, forms, uploads and exports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from graft.flaskside.rules import legacy_rules
from legacy_flask.settings import database_path
from tests.leaving.test_leave import differing, switches, visited
from tests.legacy_flask.portal import app, article_ids, built, data

__all__ = ["app", "built", "data"]

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REST = '''"""What the example has in Flask alone, natively: the view runs in the app's own context."""

from flask import current_app
from starlette.routing import Route


def dispatched():
    return current_app.make_response(current_app.dispatch_request())


async def view(request):
    return await request.state.legacy.run(request, dispatched)


routes = [Route(path, view, methods=[method]) for method, path in {rules}]
'''
NATIVE = ("/api/articles", "/static/")
NOBODY = (
    "/",
    "/browse?kind=class",
    "/about",
    "/login",
    "/register",
    "/bookmarks",
    "/uploads",
    "/export.csv",
    "/health",
)
OTHERS = (
    "/api/articles?page=x",
    "/api/suggest?q=as",
    "/api/suggest?q=js",
    "/none",
    "/about/",
    "/status",
)
FORM = {"csrf_token": "?"}
ANNA = {**FORM, "name": "anna", "password": "a good password", "again": "a good password"}


def asks(article: int) -> list[tuple[str, str, dict[str, object]]]:
    """Pages as nobody, then an account with a bookmark and an upload, and out again."""
    return [
        *(("GET", path, {}) for path in (*NOBODY, *OTHERS, f"/articles/{article}")),
        *((method, "/about", {}) for method in ("HEAD", "OPTIONS", "PUT", "POST")),
        ("POST", "/register", {"data": {"name": "anna"}}),  # without the token of a form
        ("GET", "/register", {}),
        ("POST", "/register", {"data": {**ANNA, "again": "another"}}),
        ("POST", "/register", {"data": ANNA}),
        ("GET", f"/articles/{article}", {}),
        ("POST", f"/bookmarks/{article}", {"data": {**FORM}}),
        ("GET", "/bookmarks", {}),
        ("POST", "/logout", {"data": {**FORM}}),
        ("GET", "/bookmarks", {}),
        ("GET", "/login", {}),
        ("POST", "/login", {"data": {**ANNA, "password": "wrong"}}),
        ("POST", "/login", {"data": ANNA}),
        ("GET", "/", {}),
    ]


def test_the_whole_example_answers_as_before(
    app: Flask, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_SECRET_KEY", "of the portal")
    monkeypatch.setenv("PORTAL_DATA", str(data))
    project, left, article = tmp_path / "portal", tmp_path / "left", next(article_ids(data))
    for package in ("legacy_flask", "async_routes"):
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    rules = [rule.key for rule in legacy_rules(app)]
    rest = [(key.method, key.path) for key in rules if not key.path.startswith(NATIVE)]
    (project / "async_routes" / "rest.py").write_text(REST.replace("{rules}", repr(rest)))
    (project / "gateway.py").write_text("import graft\napp = graft.gateway()\n")
    keys = [str(key) for key in rules if "/static/" not in key.path]
    (project / "switches.toml").write_text(switches(*keys, "GET /api/articles/{id:int}"))
    command = [sys.executable, "-m", "graft", "leave", str(left)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = (
        visited(folder, module, json.loads(json.dumps(asks(article))), PORTAL_DATA=str(own))
        for folder, module, own in ((project, "gateway", copied(data, "1")), (left, "asgi", copied(data, "2")))
    )
    assert {answer[2] for answer in before} == {200, 302, 400, 404, 405}
    told = differing(before, after)
    assert not told, "\n".join(told)


def copied(data: Path, name: str) -> Path:
    folder = data.parent / name / "data"  # a page shows the last part
    folder.mkdir(parents=True)
    shutil.copy(database_path(data), database_path(folder))
    return folder
