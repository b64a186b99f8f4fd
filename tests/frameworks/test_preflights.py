"""A browser's preflight reaches the CORS middleware of the app that will answer the request itself."""

from __future__ import annotations

import pytest

from tests.parts.site import OpenGateway

pytest.importorskip("fastapi", reason="pip install fastapi")

LEGACY = """
from flask import Flask
app = Flask(__name__)

@app.get("/items/<int:id>")
def item(id): return "legacy"

@app.after_request
def mark(response): response.headers["x-flask"] = "seen"; return response
"""

ITEMS = """
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"], allow_methods=["GET", "PUT"])

@app.get("/items/{id}")
async def item(id: int): return "native"

@app.put("/only/{id}")
async def put(id: int): return "native"
"""

PLAIN = """
from fastapi import APIRouter
router = APIRouter()

@router.get("/items/{id}")
async def item(id: int): return "native"
"""

NATIVE = '["GET /items/{id}"]\nshare = 100\n'


def asks(method: str, origin: str = "https://shop.example") -> dict[str, str]:
    return {"origin": origin, "access-control-request-method": method}


def test_the_middleware_of_the_app_answers_for_what_is_native(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, NATIVE, items=ITEMS) as client:
        for path, method in (("/items/3", "GET"), ("/only/3", "PUT")):
            answer = client.options(path, headers=asks(method))
            assert (answer.status_code, answer.text) == (200, "OK"), path
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert answer.headers["x-served-by"] == "native"
        refused = client.options("/only/3", headers=asks("PUT", "https://evil.example"))
        assert (refused.status_code, refused.text) == (400, "Disallowed CORS origin")


def test_the_flask_app_answers_while_the_route_is_dark(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, items=ITEMS) as client:
        answer = client.options("/items/3", headers=asks("GET"))
        assert (answer.headers["x-flask"], answer.headers["x-served-by"]) == ("seen", "legacy")
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("source", [PLAIN, ITEMS], ids=["an app without CORS", "no preflight"])
def test_what_the_app_does_not_answer_stays_with_the_flask_app(open_gateway: OpenGateway, source: str) -> None:
    with open_gateway(LEGACY, NATIVE, items=source) as client:
        headers = asks("GET") if source is PLAIN else {}
        answer = client.options("/items/3", headers=headers)
        assert answer.status_code == 200
        assert (answer.headers["x-flask"], answer.headers["x-served-by"]) == ("seen", "legacy")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
