from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from graft.recordings.exchange import Exchange
from graft.recordings.har import write_recordings
from tests.cli.project import Project

APP = """
    import itertools, sqlite3, time, uuid
    from flask import Flask, g, jsonify, redirect, request, session

    print("noise of an import")
    app = Flask(__name__)
    app.secret_key = "3f1c9b7a5e2d"

    def db():
        connection = sqlite3.connect("shop.sqlite3")
        connection.execute("create table if not exists notes (text)")
        return connection

    @app.before_request
    def load(): g.user = session.get("user_id")
    @app.get("/items/<int:id>")
    def item(id):
        if id > 99: return jsonify(error="none"), 404
        return jsonify(id=id, q=request.args.get("q"), who=g.user)
    @app.get("/other")
    def other(): return jsonify(rows=[{"price": 1}, {"price": 2}], total=2)
    @app.get("/broken")
    def broken(): return "legacy"
    @app.get("/random")
    def random(): return jsonify(id=str(uuid.uuid4()), at=time.time(), name="Ada")
    @app.get("/mine")
    def mine(): return jsonify(who=g.user) if g.user else redirect("/login")
    @app.get("/counted")
    def counted():
        with db() as connection: connection.execute("insert into notes values ('seen')")
        return "seen"
    @app.get("/alone")
    def alone(): return "legacy"
    @app.post("/notes")
    def note():
        with db() as connection: connection.execute("insert into notes values (?)", [request.form["text"]])
        return jsonify(text=request.form["text"]), 201
"""

ROUTES = """
    import time, uuid
    from flask import redirect
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route
    import shop

    async def item(request):
        if request.path_params["id"] > 99: return JSONResponse({"error": "none"}, 404)
        return JSONResponse({
            "id": request.path_params["id"], "q": request.query_params.get("q"), "who": request.session.get("user_id"),
        })
    async def other(request): return JSONResponse({"rows": [{"price": 1}, {"price": 3}], "total": 2})
    async def broken(request): raise RuntimeError("no such thing")
    async def random(request): return JSONResponse({"id": str(uuid.uuid4()), "at": time.time(), "name": "Ada"})
    async def mine(request):
        who = request.session.get("user_id")
        return JSONResponse({"who": who}) if who else redirect("/login")
    async def counted(request): return HTMLResponse("seen")
    async def note(request):
        form = await request.form()
        def write():
            with shop.db() as connection: connection.execute("insert into notes values (?)", [form["text"]])
        await request.state.legacy.run(request, write)
        return JSONResponse({"text": form["text"]}, 201)

    routes = [
        Route("/items/{id:int}", item), Route("/other", other), Route("/broken", broken), Route("/random", random),
        Route("/mine", mine), Route("/counted", counted), Route("/notes", note, methods=["POST"]),
    ]
"""


def asked(target: str, method: str = "GET", status: int = 200, body: str | None = None, **headers: str) -> Exchange:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Exchange(
        method, f"http://shop.test{target}", pairs, body, status, (), None, f"2026-11-28T08:00:00+00:00{target}"
    )


STRUCK = "session=[redacted:3f9a2c41]"


@pytest.fixture
def shop(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    empty.write("shop.py", APP)
    empty.write("async_routes/__init__.py", ROUTES)
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    return empty


def record(*exchanges: Exchange, folder: str = "var/recordings") -> None:
    write_recordings(Path(folder) / "a.har", list(exchanges))


def data(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    result = project.run("verify", "--json", *arguments)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def outcomes(found: dict[str, Any]) -> Sequence[tuple[str, str]]:
    return [(each["request"], each["outcome"]) for each in found["requests"]]


def test_what_is_the_same_passes(shop: Project) -> None:
    record(asked("/items/3?q=red"), asked("/items/100", status=404), asked("/random"), asked("/alone"))
    found = data(shop)
    assert found["compared"] == found["same"] == 3
    assert ("GET /alone", "skipped") in outcomes(found)
    assert not Path("var/gateways").exists(), "other commands would take it for a gateway"


def test_what_differs_is_shown_place_by_place_and_ends_with_1(shop: Project) -> None:
    record(asked("/items/3"), asked("/other"))
    result = shop.run("verify", "--junit", "out.xml")
    assert result.exit_code == 1
    assert "GET /other" in result.stdout
    assert "body.rows[1].price changed\n      - 2\n      + 3" in result.stdout
    assert "1 same, 1 different" in result.stdout
    suites = {suite.get("name"): suite for suite in ElementTree.parse("out.xml").getroot()}
    assert suites["GET /other"].get("failures") == "1"
    assert "body.rows[1].price" in (suites["GET /other"][0][0].text or "")
    assert suites["GET /items/{id:int}"].get("failures") == "0"


def test_it_compares_as_the_mirror_does(shop: Project) -> None:
    shop.write("switches.toml", '["GET /other"]\nshare = 10\nignore = ["body.rows[*].price"]\n')
    record(asked("/other"))
    assert data(shop)["same"] == 1
    assert "share = 10" in Path("switches.toml").read_text()


def test_a_native_side_that_breaks_is_told_with_its_exception(shop: Project) -> None:
    record(asked("/broken"))
    [found] = data(shop, code=1)["requests"]
    assert found["outcome"] == "failed"
    assert "RuntimeError: no such thing (async_routes/__init__.py:" in found["note"]


def test_a_fleet_that_can_not_be_asked_is_2_and_names_the_way_out(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(asked("/items/1"))
    monkeypatch.setenv("GRAFT_FLEET", "shop")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:1")
    result = shop.run("verify")
    assert result.exit_code == 2, result.output
    assert "can't be reached" in result.stderr
    assert re.search(r"To compare by \S*switches\.toml: GRAFT_FLEET= graft verify", result.stderr)
    monkeypatch.setenv("GRAFT_FLEET", "")
    monkeypatch.delenv("ELASTICSEARCH_URL")
    assert shop.run("verify").exit_code == 0


def test_one_route_alone(shop: Project) -> None:
    record(asked("/items/3"), asked("/other"), folder="kept")
    assert outcomes(data(shop, "GET /items/{id:int}", "kept")) == [("GET /items/3", "same")]


def test_who_is_logged_in_is_asked_for_where_it_mattered(shop: Project) -> None:
    record(asked("/mine", cookie=STRUCK))
    [found] = data(shop)["requests"]
    assert found["outcome"] == "same"
    assert "cookie session that was struck; --as or --header logs in" in found["note"]
    [found] = data(shop, "--as", "user_id=7")["requests"]
    assert (found["outcome"], found["note"]) == ("same", None)


def test_a_secret_in_the_request_itself_can_not_be_asked_again(shop: Project) -> None:
    record(asked("/items/3?token=[redacted:3f9a2c41]"))
    found = data(shop, code=2)["requests"]
    assert found[0]["note"] == "a secret was struck from its URL"


def test_it_writes_nothing_unless_it_is_told_to(shop: Project) -> None:
    form = {"content_type": "application/x-www-form-urlencoded"}
    record(asked("/counted"), asked("/notes", "POST", 201, "text=one", **form), asked("/items/3"))
    found = data(shop)
    assert outcomes(found) == [
        ("GET /counted", "not comparable"),
        ("GET /items/3", "same"),
        ("POST /notes", "skipped"),
    ]
    assert "legacy: not comparable: legacy tried to" in found["requests"][0]["note"]
    found = data(shop, "--allow-writes")
    assert {outcome for _, outcome in outcomes(found)} == {"same"}


def test_another_app_may_stand_in_for_the_native_side(shop: Project) -> None:
    shop.write("left/shop.py", "SAID = 'legacy'")  # a module of the same name
    shop.write(
        "left/asgi.py",
        """
        from contextlib import asynccontextmanager
        from shop import SAID
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        @asynccontextmanager
        async def lifespan(app):
            print("noise of a start")
            yield {"said": SAID}

        async def alone(request):
            return PlainTextResponse(request.state.said, headers={"Vary": "Cookie"}, media_type="text/html")

        async def broken(request): raise RuntimeError("no such thing")

        app = Starlette(routes=[Route("/alone", alone), Route("/broken", broken)], lifespan=lifespan)
        """,
    )
    record(asked("/alone"), asked("/broken"), asked("/items/3"))
    found = data(shop, "--app", "left/asgi:app", code=1)
    assert outcomes(found) == [("GET /alone", "same"), ("GET /broken", "different"), ("GET /items/3", "different")]
    result = shop.run("verify", "--app", "left/none:app")
    assert result.exit_code == 2
    assert "none:app can't be started: ModuleNotFoundError: No module named 'none'" in result.output


def test_nothing_to_compare_is_2_and_says_why(shop: Project) -> None:
    result = shop.run("verify")
    assert result.exit_code == 2
    assert "graft record" in result.output
    record(asked("/alone"))
    result = shop.run("verify")
    assert result.exit_code == 2
    assert "Nothing could be compared" in result.output


@pytest.mark.parametrize(
    "arguments", [("GET /other", "GET /mine"), ("nowhere",), ("--header", "x"), ("--app", "no/where:app")]
)
def test_a_wrong_command_is_2(shop: Project, arguments: tuple[str, ...]) -> None:
    record(asked("/other"))
    assert shop.run("verify", *arguments).exit_code == 2


def test_a_route_that_only_one_side_has_is_2(shop: Project) -> None:
    record(asked("/alone"))
    result = shop.run("verify", "GET /alone")
    assert result.exit_code == 2
    assert "is not switched" in result.output


# What nobody recorded


def test_made_up_parameters_find_what_no_recording_has_and_the_smallest_is_shown(shop: Project) -> None:
    shop.write(
        "shop.py",
        """
        from flask import Flask, jsonify, request
        app = Flask(__name__)
        @app.get("/items/<int:id>")
        def item(id): return jsonify(id=id, page=request.args.get("page", "1"))
        @app.get("/pages/<slug>")
        def page(slug): return jsonify(slug=slug)
        """,
    )
    shop.write(
        "async_routes/__init__.py",
        """
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        async def item(request):
            page = request.query_params.get("page") or "1"
            return JSONResponse({"id": request.path_params["id"], "page": page})
        async def page(request): return JSONResponse({"slug": request.path_params["slug"]})
        routes = [Route("/items/{id:int}", item), Route("/pages/{slug}", page)]
        """,
    )
    found = data(shop, "--fuzz", "--examples", "60", code=1)
    assert [each["request"] for each in found["requests"] if each["outcome"] == "different"] == ["GET /items/0?page="]
    assert found["same"] > 30


def test_made_up_parameters_only_read_and_log_in_as_they_are_told(shop: Project) -> None:
    found = data(shop, "GET /mine", "--fuzz", "--examples", "3", "--as", "user_id=7")
    assert {each["request"] for each in found["requests"]} == {"GET /mine"}
    result = shop.run("verify", "GET /counted", "--fuzz", "--examples", "3")
    assert result.exit_code == 2
    assert "legacy tried to" in result.output


def test_without_hypothesis_it_says_what_to_install(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    result = shop.run("verify", "--fuzz")
    assert result.exit_code == 2
    assert "pip install hypothesis" in result.output
