from __future__ import annotations

import logging
from typing import Any

import flask
import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from graft.flaskside.users import UserIds
from tests.flaskside.native import World


def make_world() -> tuple[World, UserIds]:
    app = Flask(__name__)
    app.secret_key = "key"
    users = UserIds(app, "user_id")

    @app.post("/in")
    def log_in() -> str:
        flask.session["user_id"] = 7
        return "in"

    @app.get("/who")
    def who() -> str:
        logging.getLogger(__name__).warning("asked by %s", users.here())
        return "who"

    world = World(app)

    @world.native("/native")
    async def native(request: Request) -> Response:
        return PlainTextResponse(str(request.session.get("user_id")))

    @world.native("/untouched")
    async def untouched(request: Request) -> Response:
        return PlainTextResponse()

    return world, users


@pytest.mark.parametrize(("path", "user"), [("/native", "7"), ("/who", "7"), ("/untouched", None)])
async def test_the_user_of_a_finished_request_is_known_where_the_request_asked_for_it(
    path: str, user: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    import httpx2 as httpx

    world, users = make_world()
    inner = world.asgi()
    known: list[Any] = []

    async def access_record(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)
        known.append(users.of(scope))

    transport = httpx.ASGITransport(access_record)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get(path)
        await client.post("/in")
        await client.get(path)
    assert known == [None, "7", user]
    if path == "/who":
        assert "asked by 7" in caplog.text
    assert users.here() is None


def test_a_session_that_is_no_dict_has_no_user_to_tell() -> None:
    app = Flask(__name__)
    assert UserIds(app, "user_id").of({"type": "http", "session": object()}) is None


async def test_reading_the_user_for_the_log_opens_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    world, users = make_world()
    monkeypatch.setattr(SecureCookieSessionInterface, "open_session", None)
    async with world.client() as client:
        assert (await client.get("/untouched")).status_code == 200
    assert users.of({"type": "http"}) is None
