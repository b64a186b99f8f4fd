"""Who is logged in stays on one side, whatever cookie, address and browser he comes with."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from flask import Flask, session
from flask_login import LoginManager, UserMixin, login_user, logout_user

from graft.errors import SwitchesError
from graft.flaskside.users import SessionUsers
from graft.operations.switches import parse
from graft.switching.shares import BUCKETS, ClientKeys, Shares
from graft.switching.switchboard import Switchboard
from graft.switching.unknown_users import SESSIONS
from graft.types import Scope, Side
from tests.switching.asking import KEY, ask, says, scope_of, switched


def shop(*, login: bool = True) -> Flask:
    """An app with Flask-Login and permanent sessions, whose cookie is another one with each answer."""
    app = Flask("shop")
    app.secret_key = "a key of the tests"
    if login:
        manager = LoginManager(app)

        class User(UserMixin):
            def __init__(self, name: str) -> None:
                self.id = name

        manager.user_loader(User)

        @app.get("/login/<name>")
        def log_in(name: str) -> str:
            session.permanent = True
            login_user(User(name))
            return name

        @app.get("/logout")
        def log_out() -> str:
            logout_user()
            return ""

    @app.get("/seen/<int:number>")
    def seen(number: int) -> str:
        session.permanent = True
        session["seen"] = number
        session["own_id"] = f"own {number % 2}"
        return ""

    return app


def cookie(app: Flask, *paths: str) -> str:
    """The session cookie after these requests of a new browser."""
    client = app.test_client()
    for path in paths:
        assert client.get(path).status_code == 200
    found = client.get_cookie("session")
    assert found is not None
    return found.value


def coming(cookie: str, address: str = "203.0.113.9", agent: str = "browser") -> Scope:
    return scope_of(headers={"cookie": f"theme=dark; session={cookie}", "user-agent": agent}, client=(address, 1))


def board(app: Flask, **settings: object) -> Switchboard:
    made = Switchboard(KEY, says("native"), says("legacy"), client_keys=ClientKeys(app))
    made.follow(switched(KEY, share=50.0, **settings))
    return made


@pytest.mark.parametrize("sticky", [{}, {"sticky": "user"}, {"sticky": "auto"}])
async def test_a_user_stays_on_a_side_from_wherever_he_comes(sticky: dict[str, str]) -> None:
    app = shop()
    route = board(app, **sticky)
    sides: dict[str, Side | None] = {}
    for number in range(24):
        name = f"user {number}"
        cookies = [cookie(app, f"/login/{name}", f"/seen/{visit}") for visit in range(3)]
        assert len(set(cookies)) == 3
        places = zip(cookies, ("203.0.113.9", "198.51.100.7", "2001:db8::1"), ("phone", "desk", "tablet"), strict=True)
        found = {(await ask(route, coming(*place))).side for place in places}
        assert len(found) == 1, name
        sides[name] = found.pop()
    assert set(sides.values()) == {Side.NATIVE, Side.LEGACY}


@pytest.mark.parametrize("end", ["logged out", "forged", "none"])
def test_who_is_not_logged_in_is_a_client(end: str) -> None:
    app = shop()
    made = {
        "logged out": cookie(app, "/login/ada", "/logout", "/seen/1"),
        "forged": cookie(app, "/login/ada")[:-3] + "abc",
        "none": "",
    }
    by_user, by_client = (Shares(KEY, ClientKeys(app)(sticky)) for sticky in ("user", "client"))
    assert by_user.bucket(coming(made[end])) == by_client.bucket(coming(made[end]))


def test_an_app_without_a_login_knows_its_clients_by_address_and_agent() -> None:
    app = shop(login=False)
    auto, client = Shares(KEY, ClientKeys(app)("auto")), Shares(KEY, ClientKeys()("client"))
    scopes = [coming(cookie(app, f"/seen/{number}"), f"10.0.0.{number}") for number in range(5)]
    assert [auto.bucket(scope) for scope in scopes] == [client.bucket(scope) for scope in scopes]
    assert Shares(KEY, ClientKeys()("user")).bucket(scopes[0]) == client.bucket(scopes[0])


@pytest.mark.parametrize("keys", ["user:own_id", "log user"])
def test_another_key_of_the_session_can_be_the_users(keys: str) -> None:
    app = shop(login=False)
    client = ClientKeys(app, "own_id")("auto") if keys == "log user" else ClientKeys(app)(keys)
    shares = Shares(KEY, client)
    buckets = [shares.bucket(coming(cookie(app, f"/seen/{number}"), f"10.0.0.{number}")) for number in range(6)]
    assert buckets == [buckets[0], buckets[1]] * 3
    assert buckets[0] != buckets[1]


def test_a_session_that_is_stored_is_known_by_its_id() -> None:
    app = shop()

    class Stored(type(app.session_interface)):  # type: ignore[misc]
        def open_session(self, *_: object) -> None:
            raise AssertionError("asked, which may block")

    app.session_interface = Stored()
    shares = Shares(KEY, ClientKeys(app)("user"))
    home, train = coming("4f2a91", "203.0.113.9"), coming("4f2a91", "198.51.100.7")
    assert shares.bucket(home) == shares.bucket(train) != shares.bucket(coming("4f2a92"))


def test_a_cookie_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app = shop()
    users = SessionUsers(app)
    value = cookie(app, "/login/ada").encode()
    assert users.of(value) == b"user\nada"
    monkeypatch.setattr("graft.flaskside.users.open_session", lambda *_: pytest.fail("opened again"))
    assert users.of(value) == b"user\nada"


def test_flasks_session_cookie_is_refused_with_the_mend() -> None:
    with pytest.raises(SwitchesError) as refused:
        parse('["GET /thing"]\nshare = 10\nsticky = "cookie:session"\n', Path("switches.toml"))
    assert 'Write "user", "client", ' in str(refused.value)
    assert "switches.toml, line 3" in str(refused.value)


def test_a_session_cookie_of_another_name_counts_as_its_user(caplog: pytest.LogCaptureFixture) -> None:
    app = shop()
    value = cookie(app, "/login/ada")
    app.config["SESSION_COOKIE_NAME"] = "shop"
    with caplog.at_level(logging.ERROR, "graft"):
        client = ClientKeys(app)("cookie:shop")
    assert 'sticky = "cookie:shop" would hold nobody' in caplog.text
    scope = scope_of(headers={"cookie": f"shop={value}"})
    assert client(scope) == b"user\nada"
    assert 0 <= Shares(KEY, client).bucket(scope) < BUCKETS


def test_a_session_that_keeps_its_user_elsewhere_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The app has no Flask-Login: session["own_id"] is who is logged in."""
    app = shop(login=False)
    keys = ClientKeys(app)
    for sticky in ("user:own_id", "auto", "client", "user", "user"):  # the route's switch is set again and again
        shares = Shares(KEY, keys(sticky))
        for number in range(SESSIONS):
            shares.bucket(coming(cookie(app, f"/seen/{number}")))
    [said] = caplog.messages
    assert f'sticky = "user" knows nobody: none of {SESSIONS} sessions has "_user_id"' in said
    assert "The sessions have: own_id, seen." in said or "The sessions have: seen, own_id." in said


def test_visitors_who_are_not_logged_in_are_no_reason_to_doubt_the_key(caplog: pytest.LogCaptureFixture) -> None:
    app = shop(login=False)
    own = Shares(KEY, ClientKeys(app)("user:own_id"))
    own.bucket(coming(cookie(app, "/seen/1")))
    with_login = shop()
    for number in range(SESSIONS):
        anonymous = coming(cookie(with_login, f"/seen/{number}"))
        Shares(KEY, ClientKeys(with_login)("user")).bucket(anonymous)
        own.bucket(coming(cookie(with_login, f"/seen/{number}")))
    assert caplog.messages == []
