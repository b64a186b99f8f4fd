"""``errors = "legacy"``: what FastAPI would answer to an error is told by the Flask app, so that both sides agree."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.parts.site import OpenGateway

pytest.importorskip("fastapi", reason="pip install fastapi")

LEGACY = """
from flask import Flask, abort, g, jsonify, request
app = Flask(__name__, static_folder=None)
app.secret_key = "k"

@app.get("/items/<int:id>")
def item(id):
    if id > 9: abort(404, "no such item")
    return jsonify(id=id, page=request.args.get("page", 1, int))

@app.post("/items")
def add():
    if "name" not in (request.get_json(silent=True) or {}): abort(400)
    return jsonify(ok=True)

@app.get("/money")
def money(): abort(402)

@app.errorhandler(404)
def lost(error): return "lost: " + error.description, 404

@app.errorhandler(400)
def bad(error):
    return jsonify(bad=error.code, user=g.get("user", "?")), 400
"""

HOOKS = """
@app.before_request
def load(): g.user = "ada"
"""

NATIVE = """
from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel
router = APIRouter()

class Item(BaseModel):
    name: str

@router.get("/items/{id}")
async def item(id: int, page: int = 1):
    if id > 9: raise HTTPException(404, "no such item")
    if id == 8: return JSONResponse({"meant": True}, 404)
    return {"id": id, "page": page}

@router.post("/items")
async def add(item: Item): return {"ok": True}

@router.get("/money")
async def money(): raise HTTPException(402, headers={"x-price": "3"})

@router.get("/alone")
async def alone(page: int): return page
"""

ROUTES = ("GET /items/{id}", "POST /items", "GET /money", "GET /alone")
TOKEN = {"authorization": "Bearer " + "t" * 32}


def switches(errors: str = "legacy", share: int = 100, mirror: int = 0) -> str:
    return "".join(f'["{route}"]\nshare = {share}\nmirror = {mirror}\nerrors = "{errors}"\n' for route in ROUTES)


@pytest.mark.parametrize("legacy", [LEGACY, LEGACY + HOOKS], ids=["no hooks", "hooks"])
def test_errors_are_told_by_the_flask_app_in_the_context_of_the_request(open_gateway: OpenGateway, legacy: str) -> None:
    user = "ada" if "ada" in legacy else "?"
    with open_gateway(legacy, switches(), items=NATIVE) as client:
        lost = client.get("/items/12")
        assert (lost.status_code, lost.text, lost.headers["x-served-by"]) == (404, "lost: no such item", "native")
        bad = client.post("/items", json={})
        assert (bad.status_code, bad.json(), bad.headers["x-served-by"]) == (400, {"bad": 400, "user": user}, "native")
        assert client.get("/items/1?page=x").status_code == 400
        assert client.get("/items/word").text.startswith("lost: ")  # as where Flask's converter refuses it
        money = client.get("/money")
        assert (money.status_code, money.headers["x-price"]) == (402, "3")
        assert money.headers["content-type"].startswith("text/html")
        assert client.get("/items/8").json() == {"meant": True}, "an answer is no error"
        assert client.get("/items/1").json() == {"id": 1, "page": 1}
        assert client.get("/alone").json() == {"bad": 400, "user": "?"}, "a native-only route has them too"


def test_by_default_the_answers_are_fastapis(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY + HOOKS, switches("native"), items=NATIVE) as client:
        assert client.get("/items/12").json() == {"detail": "no such item"}
        assert client.post("/items", json={}).status_code == 422
        assert client.get("/alone").status_code == 422


def test_a_handler_for_422_gets_what_does_not_validate_with_fastapis_error_as_its_cause(
    open_gateway: OpenGateway,
) -> None:
    handler = """
@app.errorhandler(422)
def invalid(error): return jsonify(fields=[each["loc"][-1] for each in error.__cause__.errors()]), 422
"""
    with open_gateway(LEGACY + handler, switches(), items=NATIVE) as client:
        answer = client.post("/items", json={})
        assert (answer.status_code, answer.json()) == (422, {"fields": ["name"]})


def test_handlers_that_the_app_registered_itself_stay(open_gateway: OpenGateway) -> None:
    own = (
        NATIVE.replace("router = APIRouter()", "router = APIRouter()\nfrom fastapi import FastAPI, Request")
        + """
app = FastAPI()
app.include_router(router)

@app.exception_handler(HTTPException)
async def mine(request: Request, error: HTTPException): return JSONResponse({"mine": error.detail}, error.status_code)
"""
    )
    with open_gateway(LEGACY, switches(), items=own) as client:
        assert client.get("/items/12").json() == {"mine": "no such item"}
        assert client.post("/items", json={}).status_code == 400


def test_the_mirror_compares_what_would_be_answered(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY + HOOKS, switches(share=0, mirror=100), items=NATIVE) as client:
        before = counted(client)
        assert client.get("/items/12").headers["x-served-by"] == "legacy"
        assert client.post("/items", json={}).headers["x-served-by"] == "legacy"
        until = time.monotonic() + 60
        while (now := counted(client))["compared"] - before["compared"] < 2:
            assert time.monotonic() < until, now
            time.sleep(0.05)
        assert now["matched"] - before["matched"] == 2


def test_a_fastapi_app_below_a_mount_has_it_as_well(open_gateway: OpenGateway) -> None:
    mounted = (
        NATIVE.replace('"/items/{id}"', '"/{id}"').replace("APIRouter()", "FastAPI()").replace("APIRouter", "FastAPI")
        + 'from starlette.routing import Mount\nroutes = [Mount("/items", app=router)]\n'
    )
    switch = '["ANY /items/*"]\nshare = 100\nmirror = 0\nerrors = "legacy"\n'
    with open_gateway(LEGACY + HOOKS, switch, items=mounted) as client:
        answer = client.get("/items/12")
        assert (answer.text, answer.headers["x-served-by"]) == ("lost: no such item", "native")


def counted(client: TestClient) -> dict[str, Any]:
    rows = client.get("/_graft/api/routes", headers=TOKEN).json()["routes"]
    return {name: sum(row[name] for row in rows) for name in ("compared", "matched")}


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "t" * 32)
