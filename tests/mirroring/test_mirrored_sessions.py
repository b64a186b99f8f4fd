"""A mirrored request never changes its user's session, wherever the Flask app keeps it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionInterface
from starlette.requests import Request
from starlette.responses import JSONResponse

from graft.flaskside.side import LegacySide
from graft.mirroring.mirror import Mirror
from graft.settings import Settings
from graft.switching.switchboard import Switchboard
from tests.switching.asking import KEY, Counted, Reply, ask, scope_of, switched, until


class OnTheServer(SessionInterface):
    """Sessions in a dict, by the id in the cookie."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    def open_session(self, app: Flask, request: Any) -> SecureCookieSession:
        return SecureCookieSession(self.kept.get(request.cookies.get("session", ""), {}))

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        self.kept["ada"] = dict(session)
        response.set_cookie("session", "ada")


async def native_thing(request: Request) -> JSONResponse:
    request.session["seen"] = request.session.get("seen", 0) + 1
    return JSONResponse([1])


async def native(scope: Any, receive: Any, send: Any) -> None:
    await (await native_thing(Request(scope, receive, send)))(scope, receive, send)


@pytest.fixture
async def legacy(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LegacySide]:
    app = Flask("shop")
    app.secret_key = "k"
    app.session_interface = request.param()

    @app.get("/thing")
    def thing() -> list[int]:
        session["seen"] = session.get("seen", 0) + 1
        return [1]

    module = ModuleType("shop_with_sessions")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_with_sessions", module)
    side = LegacySide(Settings.load(legacy="shop_with_sessions:app", data=tmp_path))
    async with side.running():
        yield side


def cookies(reply: Reply) -> list[bytes]:
    return [value for name, value in reply.headers if name.lower() == b"set-cookie"]


async def asked(legacy: LegacySide, share: float) -> Reply:
    counted = Counted()
    async with Mirror(recorder=counted) as mirror:
        board = Switchboard(KEY, legacy.around(native), legacy.mount, legacy_mirror=legacy.mirror, mirror=mirror)
        board.follow(switched(share=share, mirror=100))
        reply = await ask(board, scope_of(headers={"cookie": "session=ada"}))
        await until(lambda: counted["different"] + counted["matched"])
    assert counted["different"] == 0, "the sessions are the same, or can't be compared"
    return reply


@pytest.mark.parametrize("legacy", [OnTheServer], indirect=True)
@pytest.mark.parametrize("share", [0, 100])
async def test_a_session_on_the_server_is_saved_for_the_user_and_not_for_the_mirror(
    legacy: LegacySide, share: float
) -> None:
    assert legacy.app is not None
    interface = legacy.app.session_interface
    assert isinstance(interface, OnTheServer)
    for visits in (1, 2):
        assert len(cookies(await asked(legacy, share))) == 1
        assert interface.kept == {"ada": {"seen": visits}}


@pytest.mark.parametrize("legacy", [SecureCookieSessionInterface], indirect=True)
@pytest.mark.parametrize("share", [0, 100])
async def test_a_session_in_a_cookie_reaches_the_user_once(legacy: LegacySide, share: float) -> None:
    assert len(cookies(await asked(legacy, share))) == 1
