"""Each corner is held against a Flask app that has all the routes itself."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from graft.bridge.mount import LegacyMount
from graft.flaskside.rules import has_path
from graft.routing.frontdoor import FrontDoor

LEGACY = [("/both", ["GET"]), ("/legacy", ["GET", "POST"]), ("/slash/", ["GET"]), ("/u/<int:id>", ["GET"])]
NATIVE = [("/both", ["DELETE"]), ("/native", ["GET"]), ("/n/{id:int}", ["PUT"])]
NATIVE += [("/folder/", ["GET", "POST"]), ("/f/{name}/", ["GET"])]


def flask_with(*rules: tuple[str, list[str]]) -> Flask:
    app = Flask("corners", static_folder=None)
    for number, (rule, methods) in enumerate(rules):
        app.add_url_rule(rule, f"view{number}", lambda **values: "answer", methods=methods)
    return app


def all_flask() -> FlaskClient:
    translated = [
        (path.replace("{id:int}", "<int:id>").replace("{name}", "<name>"), methods) for path, methods in NATIVE
    ]
    return flask_with(*LEGACY, *translated).test_client()


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("answer")


def gateway() -> TestClient:
    flask = flask_with(*LEGACY)
    legacy = LegacyMount(flask)
    app = Starlette(
        routes=[*(Route(path, answer, methods=methods) for path, methods in NATIVE), Mount("/", app=legacy)],
        middleware=[Middleware(FrontDoor, legacy=legacy, legacy_has=lambda path, scope: has_path(flask, path))],
    )
    return TestClient(app, follow_redirects=False)


def allowed(headers: Any) -> set[str]:
    return {method.strip() for method in (headers.get("allow") or "").split(",")}


PATHS = ["/both", "/legacy", "/slash/", "/slash", "/u/7", "/u/x", "/native", "/n/7", "/n/x", "/nowhere"]
PATHS += ["/folder/", "/folder", "/folder?q=1&r=%2F", "/f/a/", "/f/a", "/f/%C3%BC%20b"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", PATHS)
def test_the_answer_is_the_one_of_a_flask_app_with_all_the_routes(path: str, method: str) -> None:
    expected = all_flask().open(path, method=method)
    got = gateway().request(method, path)
    assert got.status_code == expected.status_code
    if expected.status_code == 405 or method == "OPTIONS":
        assert allowed(got.headers) == allowed(expected.headers)
    if "location" in expected.headers:
        assert got.headers["location"].removeprefix("http://testserver") == expected.headers["location"].removeprefix(
            "http://localhost"
        )


def test_an_app_whose_rules_cannot_be_read_decides_by_itself() -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 NOT FOUND", [("Content-Type", "text/plain")])
        return [b"legacy decides"]

    legacy = LegacyMount(wsgi)
    app = Starlette(
        routes=[Route("/native", answer), Mount("/", app=legacy)], middleware=[Middleware(FrontDoor, legacy=legacy)]
    )
    assert TestClient(app).post("/native").text == "legacy decides"


@pytest.mark.parametrize("path", ["//evil.test/folder", "//folder", "///folder"])
def test_a_slash_redirect_never_leads_to_another_host(path: str) -> None:
    got = gateway().get(f"http://testserver{path}")
    location = got.headers.get("location", "/").removeprefix("http://testserver")
    assert not location.startswith("//")
    assert "://" not in location
