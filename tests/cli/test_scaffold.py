from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graft.recordings.exchange import Exchange
from graft.recordings.har import write_recordings
from tests.cli.project import Project

APP = """
    from flask import Blueprint, Flask, abort, after_this_request, jsonify, redirect, request, session, url_for
    from flask.views import MethodView
    from werkzeug.routing import BaseConverter

    class Words(BaseConverter):
        def to_python(self, value): return value.split("+")
        def to_url(self, value): return "+".join(value)

    app = Flask(__name__)
    app.secret_key = "3f1c9b7a5e2d"
    app.url_map.converters["words"] = Words

    class Refused(Exception): pass

    @app.errorhandler(Refused)
    def refused(error): return jsonify(error=str(error)), 418

    @app.after_request
    def mark(response):
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/items/<int:id>")
    def item(id):
        if id > 99: abort(404, "no such item")
        if id == 13: raise Refused("unlucky")
        return jsonify(id=id, q=request.args.get("q"), tags=["a"], by={"name": "Ada"})

    @app.get("/items")
    def items(): return jsonify([{"id": 1, "note": None}, {"id": 2, "note": "x", "price": 1.5}])
    @app.get("/words/<words:words>")
    def words(words): return {"words": words}
    @app.get("/text/<path:rest>", defaults={"lang": "en"})
    def text(rest, lang): return f"{rest} {lang}", 203, {"X-Lang": lang}
    @app.get("/seen")
    def seen():
        session["seen"] = session.get("seen", 0) + 1
        response = app.make_response(("", 204))
        response.set_cookie("theme", "dark")
        return response
    @app.get("/away")
    def away(): return redirect(url_for("item", id=3))
    @app.get("/stream")
    def stream(): return app.response_class(iter(["a", "b"]), mimetype="text/plain")
    @app.get("/later")
    async def later(): return "later"
    @app.route("/notes", methods=["GET", "POST"])
    def notes(): return f"{request.method} {request.form.get('text')}"
    class Shelf(MethodView):
        def get(self, n): return {"n": n}
    app.add_url_rule("/shelves/<uuid:n>", view_func=Shelf.as_view("shelf"))
    api = Blueprint("api", __name__, url_prefix="/api")
    @api.before_request
    def key(): return None if "key" in request.args else ("no key", 401)
    @api.get("/<float:price>")
    def price(price): return {"price": price}
    app.register_blueprint(api)
"""

ROUTES = [
    "GET /items/{id:int}",
    "GET /items",
    "GET /words/{words:words}",
    "GET /text/{rest:path}",
    "GET /seen",
    "GET /away",
    "GET /stream",
    "GET /later",
    "GET /notes",
    "GET /shelves/{n:uuid}",
    "GET /api/{price:float}",
]
ASKED = [
    "/items/3?q=red",
    "/items/13",
    "/items/100",
    "/items",
    "/words/a+b",
    "/text/a/b",
    "/seen",
    "/away",
    "/stream",
    "/later",
    "/notes",
    "/shelves/00000000-0000-4000-8000-000000000000",
    "/api/1.50",
    "/api/1.50?key=1",
]


def asked(target: str, answer: Any = None) -> Exchange:
    headers = (("content-type", "application/json"),) if answer is not None else ()
    text = json.dumps(answer) if answer is not None else None
    return Exchange("GET", f"http://shop.test{target}", (), None, 200, headers, text, "2026-11-28T08:00:00+00:00")


@pytest.fixture
def shop(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    empty.write("shop.py", APP)
    empty.write("async_routes/__init__.py", "")
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    return empty


def scaffold(project: Project, *arguments: str) -> list[Path]:
    result = project.run("scaffold", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [Path(path) for path in json.loads(result.stdout)["files"]]


@pytest.mark.parametrize("framework", ["--starlette", "--fastapi", "--quart"])
def test_what_is_written_answers_as_before_from_the_first_minute(shop: Project, framework: str) -> None:
    for route in ROUTES:
        scaffold(shop, route, framework)
    write_recordings(Path("kept/a.har"), [asked(target) for target in ASKED])
    result = shop.run("verify", "kept", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["same"], found["skipped"]) == (len(ASKED), 0), result.output


def test_the_files_are_formatted_and_the_contract_test_passes(shop: Project) -> None:
    write_recordings(Path("var/recordings/a.har"), [asked("/items/3?q=red"), asked("/items/4")])
    module, test = scaffold(shop, "GET /items/{id:int}")
    scaffold(shop, "GET /items", "--fastapi")
    scaffold(shop, "GET /later", "--quart")
    assert module == shop.folder / "async_routes" / "item.py"
    assert "#     def item(id):\n#         if id > 99: abort(404" in module.read_text()
    assert '"/items/3?q=red",' in test.read_text()
    done = subprocess.run([sys.executable, "-m", "ruff", "format", "--check", "--diff", "async_routes", "tests"])
    assert done.returncode == 0
    shop.write("test_broken.py", "")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)], capture_output=True, text=True
    )
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_models_come_from_what_was_recorded(shop: Project) -> None:
    write_recordings(
        Path("var/recordings/a.har"),
        [
            asked("/items", [{"id": 1, "note": None}, {"id": 2, "note": "x", "price": 1.5}]),
            asked("/items/3", {"id": 3, "by": {"name": "Ada"}, "tags": ["a"]}),
        ],
    )
    module, _ = scaffold(shop, "GET /items", "--fastapi")
    text = module.read_text()
    assert "class ItemsItem(BaseModel):\n    id: int\n    note: str | None\n    price: float | None = None" in text
    assert 'response_model=None, responses={200: {"model": list[ItemsItem]}}' in text
    module, _ = scaffold(shop, "GET /items/{id:int}")
    text = module.read_text()
    assert "class ItemAnswer(TypedDict):\n    id: int\n    by: By\n    tags: list[str]" in text
    assert "# an ItemAnswer by one recorded answer." in text
    result = shop.run("verify")
    assert result.exit_code == 0, result.output
    result = shop.run("openapi")
    assert "ItemsItem" in result.stdout


def test_without_the_extra_there_are_no_models_and_a_line_that_says_so(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "genson", None)
    write_recordings(Path("var/recordings/a.har"), [asked("/items/3", {"id": 3})])
    result = shop.run("scaffold", "GET /items/{id:int}")
    assert result.exit_code == 0, result.output
    assert "pip install libcst datamodel-code-generator" in result.stderr
    assert Path("async_routes/item.py").exists()


def test_a_route_that_writes_has_no_contract_test(shop: Project) -> None:
    [module] = scaffold(shop, "POST /notes")
    assert module.name == "notes_post.py"
    assert 'Route("/notes", notes_post, methods=["POST"])' in module.read_text()
    form = (("content-type", "application/x-www-form-urlencoded"),)
    at = "2026-11-28T08:00:00+00:00"
    write_recordings(
        Path("kept/a.har"), [Exchange("POST", "http://shop.test/notes", form, "text=a", 200, (), None, at)]
    )
    result = shop.run("verify", "kept", "--allow-writes")
    assert result.exit_code == 0, result.output


def test_nothing_is_overwritten_and_a_dry_run_writes_nothing(shop: Project) -> None:
    result = shop.run("scaffold", "GET /items", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith('"""GET /items.')
    assert not Path("async_routes/items.py").exists()
    Path("async_routes/items.py").write_text("# mine")
    result = shop.run("scaffold", "GET /items")
    assert result.exit_code == 2
    assert "is there already, and nothing was written" in result.output
    assert Path("async_routes/items.py").read_text() == "# mine"
    assert not Path("tests").exists()
    scaffold(shop, "GET /items", "--out", "async_routes/all_items.py")
    result = shop.run("scaffold", "GET /items")
    assert "is native already: async_routes.all_items.items" in result.output


def test_a_route_that_is_not_there_is_2(shop: Project) -> None:
    result = shop.run("scaffold", "GET /itms")
    assert result.exit_code == 2
    assert 'Did you mean "GET /items"?' in result.output


def test_native_routes_that_are_one_module_need_a_place(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("alone.py", "routes = []")
    monkeypatch.setenv("GRAFT_NATIVE", "alone")
    result = shop.run("scaffold", "GET /items")
    assert result.exit_code == 2
    assert "Name it by --out" in result.output
