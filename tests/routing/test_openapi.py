"""The OpenAPI document of the whole site is valid, typed where a framework knows the types, and says who answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from openapi_spec_validator import validate
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from graft.flaskside.rules import legacy_rules
from graft.routing.native import NativeRoute
from graft.routing.openapi import document
from graft.routing.table import RouteTable
from tests.parts.site import OpenGateway

LEGACY = """
from flask import Flask
app = Flask(__name__)
@app.get("/items/<int:item_id>")
def item(item_id):
    "One item."
    return "legacy"
@app.get("/old/<any(red, blue):colour>/<uuid:key>/<path:rest>")
def old(colour, key, rest): return ""
"""

FASTAPI = """
from fastapi import APIRouter
from pydantic import BaseModel
router = APIRouter()
class Item(BaseModel):
    {field}: str
@router.get("/{name}/{{id}}", tags=["{name}"])
async def item(id: int, q: str = "") -> Item: return Item({field}="x")
"""


async def starlette_view(request: Request) -> PlainTextResponse:
    """Say something.

    At length.
    """
    return PlainTextResponse("")


def made(*natives: Route, app: Flask | None = None, **options: Any) -> dict[str, Any]:
    rules = legacy_rules(app or Flask(__name__, static_folder=None))
    described = document(RouteTable([NativeRoute(route, "natives.m") for route in natives], rules), **options)
    validate(described)
    return described


def flask_app() -> Flask:
    app = Flask(__name__, static_folder=None)
    notes = Blueprint("notes", __name__)

    class Note(MethodView):
        def get(self, n: int) -> str:
            """Read it."""
            return ""

        def put(self, n: int) -> str:
            return ""

    notes.add_url_rule("/notes/<int:n>", view_func=Note.as_view("note"))
    app.register_blueprint(notes)
    return app


def test_legacy_rules_have_their_methods_types_docstrings_and_blueprints() -> None:
    path = made(app=flask_app())["paths"]["/notes/{n}"]
    assert (path["get"]["summary"], path["get"]["tags"]) == ("Read it.", ["notes"])
    assert path["get"]["parameters"][0]["schema"] == {"type": "integer"}
    assert path["put"]["x-graft"] == {"route": "PUT /notes/{n:int}", "sides": ["legacy"]}


def test_a_switched_route_is_one_operation_and_its_path_has_one_name_for_each_parameter() -> None:
    described = made(Route("/notes/{id:int}", starlette_view), app=flask_app())
    path = described["paths"]["/notes/{id}"]
    assert path["get"]["x-graft"]["sides"] == ["native", "legacy"]
    assert (path["get"]["summary"], path["get"]["description"]) == ("Say something.", "At length.")
    assert [one["name"] for one in path["put"]["parameters"]] == ["id"]
    assert "/notes/{n}" not in described["paths"]


def test_native_only_leaves_out_what_only_flask_has() -> None:
    described = made(Route("/new", starlette_view), app=flask_app(), native_only=True)
    assert list(described["paths"]) == ["/new"]


def test_operations_of_fastapi_keep_their_types_and_models_of_one_name_stay_apart(
    open_gateway: OpenGateway,
    tmp_path: Path,
) -> None:
    pytest.importorskip("fastapi", reason="pip install fastapi")
    modules = {
        "items": FASTAPI.format(name="items", field="title"),
        "others": FASTAPI.format(name="others", field="label"),
    }
    with open_gateway(LEGACY, **modules):
        env = {**os.environ, "GRAFT_LEGACY": "shop:app", "GRAFT_NATIVE": "natives", "GRAFT_DATA": "var"}
        command = [sys.executable, "-m", "graft", "openapi", "-o", "site.json"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    described = json.loads((tmp_path / "site.json").read_text())
    validate(described)
    item, other = (described["paths"][f"/{name}/{{id}}"]["get"] for name in ("items", "others"))
    models = [one["responses"]["200"]["content"]["application/json"]["schema"]["$ref"] for one in (item, other)]
    properties = [list(described["components"]["schemas"][model.rpartition("/")[2]]["properties"]) for model in models]
    assert properties == [["title"], ["label"]]
    assert item["x-graft"] == {"route": "GET /items/{id}", "sides": ["native", "legacy"]}
    assert item["operationId"] != other["operationId"]
    colour, key, rest = described["paths"]["/old/{colour}/{key}/{rest}"]["get"]["parameters"]
    assert colour["schema"] == {"type": "string", "enum": ["red", "blue"]}
    assert (key["schema"]["format"], rest["schema"]) == ("uuid", {"type": "string"})


def test_the_pages_are_closed_unless_they_are_opened_and_never_hide_the_apps_own(
    open_gateway: OpenGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native = "from starlette.routing import Route\nasync def x(request): ...\nroutes = [Route('/x', x)]\n"
    with open_gateway(LEGACY, x=native) as client:
        assert client.get("/openapi.json").status_code == 404
    monkeypatch.setenv("GRAFT_OPENAPI", "open")
    with open_gateway(LEGACY) as client:
        assert list(client.get("/openapi.json").json()["paths"]) == ["/x"]
        assert "/openapi.json" in client.get("/docs").text


def test_a_page_of_the_flask_app_stays_its_own(
    open_gateway: OpenGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRAFT_OPENAPI", "open")
    with open_gateway(LEGACY + "\n@app.get('/docs')\ndef docs(): return 'its own'\n") as client:
        assert client.get("/docs").text == "its own"
        assert client.get("/openapi.json").status_code == 200


def test_a_file_that_can_not_be_written_is_one_line(open_gateway: OpenGateway, tmp_path: Path) -> None:
    with open_gateway(LEGACY):
        env = {**os.environ, "GRAFT_LEGACY": "shop:app", "GRAFT_NATIVE": "natives", "GRAFT_DATA": "var"}
        command = [sys.executable, "-m", "graft", "openapi", "-o", str(tmp_path / "nowhere" / "site.json")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nowhere/site.json can't be written: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
