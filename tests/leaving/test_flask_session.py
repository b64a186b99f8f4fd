"""The session of a written app against Flask's own: what each makes of the other's cookie, and what it answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, session
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from graft.leaving.written.flask_app import cookie_settings
from graft.leaving.written.flask_session import FlaskSessions

CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strict": {"SESSION_COOKIE_SAMESITE": "Strict", "SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": False},
    "placed": {"SESSION_COOKIE_NAME": "sid", "SESSION_COOKIE_DOMAIN": "example.org", "SESSION_COOKIE_PATH": "/shop"},
    "kept": {"SESSION_REFRESH_EACH_REQUEST": False, "PERMANENT_SESSION_LIFETIME": 3600},
    "partitioned": {"SESSION_COOKIE_PARTITIONED": True},
    "rotated": {"SECRET_KEY_FALLBACKS": ["older", "oldest"]},
}


def nothing(session: Any) -> None: ...


def read(session: Any) -> Any:
    return session.get("a")


def write(session: Any) -> None:
    session["a"] = 1


def write_permanent(session: Any) -> None:
    session.permanent = True
    session["a"] = 1


def change_inside(session: Any) -> None:
    session.setdefault("list", []).append(1)


def clear(session: Any) -> None:
    session.clear()


def pop_missing(session: Any) -> None:
    session.pop("none", None)


ACTIONS = (nothing, read, write, write_permanent, change_inside, clear, pop_missing)
START: dict[str, dict[str, Any]] = {
    "nobody": {},
    "somebody": {"a": 0, "b": "ü"},
    "permanent": {"a": 0, "_permanent": True},
}


def flasks(config: dict[str, Any], key: str = "now") -> Flask:
    app = Flask("shop")
    app.config.update(SECRET_KEY=key, **config)
    for action in ACTIONS:
        app.add_url_rule(f"/{action.__name__}", action.__name__, lambda action=action: str(action(session)))
    return app


def ours(app: Flask) -> Starlette:
    def route(action: Any) -> Route:
        async def view(request: Any) -> PlainTextResponse:
            if action is nothing:
                return PlainTextResponse(str(nothing(None)))
            return PlainTextResponse(str(action(request.session)))

        return Route(f"/{action.__name__}", view)

    routes = [route(action) for action in ACTIONS]
    return Starlette(routes=routes, middleware=[Middleware(FlaskSessions, cookie_settings(app))])


def signed(app: Flask, content: dict[str, Any]) -> str:
    signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    return str(signer.dumps(content))


def told(answer: Any, app: Flask) -> tuple[int, list[str], list[str], Any]:
    """Status, Vary, the cookie's attributes, and what is in it."""
    headers = answer.headers
    cookies = headers.get_list("set-cookie") if hasattr(headers, "get_list") else headers.getlist("Set-Cookie")
    varied = headers.get_list("vary") if hasattr(headers, "get_list") else headers.getlist("Vary")
    content = None
    for cookie in cookies:
        value = cookie.partition("=")[2].partition(";")[0]
        if value:
            signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
            content = signer.loads(value)
    shown = [re.sub(r"^(\w+=)[^;]+|(Expires=\w{3}, \d\d \w{3} \d{4})[^;]*", r"\1\2", cookie) for cookie in cookies]
    return answer.status_code, varied, shown, content


@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("config", CONFIGS)
def test_each_answer_has_the_cookie_and_the_vary_that_flask_gives(config: str, start: str) -> None:
    app = flasks(CONFIGS[config])
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = {"cookie": f"x=1; {name}={signed(app, START[start])}; y=2"} if START[start] else {}
    with TestClient(ours(app)) as client:
        for action in ACTIONS:
            theirs = app.test_client(use_cookies=False).get(f"/{action.__name__}", headers=cookie)
            here = client.get(f"/{action.__name__}", headers=cookie)
            client.cookies.clear()
            assert told(here, app) == told(theirs, app), action.__name__
            assert here.text == theirs.text


@pytest.mark.parametrize(
    "content",
    [
        {"tuple": (1, (2, [3])), "bytes": b"\x00\xff", "markup": Markup("<b>"), "uuid": UUID(int=7)},
        {"when": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "_flashes": [("message", "Gespeichert ✓")]},
        {"tagged": {" t": 1}, "escaped": {" di__": {" b": "x"}}, "long": "x" * 4000},
        {"n": 1.5, "none": None, "deep": {"a": [{"b": {"c": ()}}]}},
    ],
)
def test_what_is_in_it_comes_back_as_it_was_both_ways(content: dict[str, Any]) -> None:
    app = flasks({})
    theirs = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    here = FlaskSessions(ours(app), cookie_settings(app))._signed
    assert here.loads(theirs.dumps(content)) == content
    assert theirs.loads(here.dumps(content)) == content


def test_older_keys_still_count_and_a_changed_cookie_is_nobodys() -> None:
    app = flasks(CONFIGS["rotated"])
    old = signed(flasks({}, key="older"), {"a": 5})
    with TestClient(ours(app)) as client:
        assert client.get("/read", headers={"cookie": f"session={old}"}).text == "5"
        for wrong in (old[:-2], "x" + old, "nothing", signed(flasks({}, key="stranger"), {"a": 5})):
            assert client.get("/read", headers={"cookie": f"session={wrong}"}).text == "None"


def test_what_a_session_cannot_keep_is_an_error_as_in_flask() -> None:
    signer = FlaskSessions(ours(flasks({})), cookie_settings(flasks({})))._signed
    assert signer.loads(signer.dumps({"d": Decimal("1.5")})) == {"d": "1.5"}
    with pytest.raises(TypeError, match="can't keep object"):
        signer.dumps({"o": object()})
