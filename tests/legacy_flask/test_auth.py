from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from legacy_flask import accounts
from tests.legacy_flask.portal import Browser, rows


def test_a_new_account_is_signed_in_and_welcomed(browser: Browser) -> None:
    assert browser.register().headers["Location"] == "/"
    page = browser.get("/").text
    assert "Welcome, marta." in page
    assert "Signed in as marta" in page
    assert "Welcome, marta." not in browser.get("/").text  # a message is shown once


def test_passwords_are_kept_as_hashes(reader: Browser, data: Path) -> None:
    (user,) = rows(data, "SELECT password FROM users")
    assert user["password"].startswith("pbkdf2:sha256:1000$")


@pytest.mark.parametrize(
    ("name", "password", "again", "reason"),
    [
        ("x", "long enough", "long enough", "2 to 32"),
        ("<b>", "long enough", "long enough", "2 to 32"),
        ("y" * 33, "long enough", "long enough", "2 to 32"),
        ("marta", "short", "short", "8 to 200"),
        ("marta", "p" * 201, "p" * 201, "8 to 200"),
        ("marta", "long enough", "long enougj", "not the same"),
        ("", "", "", "2 to 32"),
    ],
)
def test_an_account_that_cannot_be_is_explained(
    browser: Browser, name: str, password: str, again: str, reason: str
) -> None:
    answer = browser.post("/register", {"name": name, "password": password, "again": again})
    assert answer.status_code == 400
    assert reason in answer.text
    assert "<b>" not in answer.text.split("<main")[1]


def test_a_name_is_taken_whatever_its_case(app: Flask) -> None:
    Browser(app).register("Marta")
    answer = Browser(app).register("mARTA")
    assert answer.status_code == 400
    assert "taken" in answer.text


def test_signing_out_and_in_again(reader: Browser) -> None:
    assert reader.post("/logout").headers["Location"] == "/"
    assert "You are signed out." in reader.get("/").text
    assert reader.login().headers["Location"] == "/"
    assert "Welcome back, marta." in reader.get("/").text


@pytest.mark.parametrize(
    ("name", "password"), [("marta", "wrong"), ("nobody", "a good password"), ("marta", "x" * 9999)]
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(app: Flask, name: str, password: str) -> None:
    Browser(app).register()
    answer = Browser(app).login(name, password)
    assert answer.status_code == 400
    assert "don&#39;t belong together" in answer.text


def test_an_unknown_name_costs_a_hash_too(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(accounts, "check_password_hash", lambda known, password: checked.append(known))
    browser.login("nobody", "whatever it is")
    assert len(checked) == 1


def test_whoever_is_signed_in_needs_no_login_page(reader: Browser) -> None:
    assert reader.get("/login?next=/uploads").headers["Location"] == "/uploads"
    assert reader.get("/register").headers["Location"] == "/"


def test_remember_me_outlives_the_browser(reader: Browser) -> None:
    reader.post("/logout")
    assert "Expires" not in reader.login().headers["Set-Cookie"]
    reader.post("/logout")
    assert "Expires" in reader.login(remember="1").headers["Set-Cookie"]


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: Browser) -> None:
    cookie = browser.register().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_nothing_of_the_session_before_the_login_is_kept(browser: Browser) -> None:
    browser.register()
    browser.post("/logout")
    with browser.client.session_transaction() as session:
        session["planted"] = "by somebody else"
        session["csrf_token"] = "planted too"
    browser.login()
    with browser.client.session_transaction() as session:
        assert "planted" not in session
        assert session.get("csrf_token") != "planted too"


@pytest.mark.parametrize("value", [99, "1 OR 1", None, [1], 2**70])
def test_a_cookie_of_nobody_is_worth_nothing(browser: Browser, value: object) -> None:
    with browser.client.session_transaction() as session:
        session["user_id"] = value
    assert browser.get("/bookmarks").status_code == 302
    assert browser.get("/").status_code == 200


def test_login_leads_back_to_where_one_was(app: Flask) -> None:
    Browser(app).register()
    browser = Browser(app)
    login = browser.get("/bookmarks?x=1").headers["Location"]
    assert login == "/login?next=/bookmarks?x%3D1"
    answer = browser.post(login, {"name": "marta", "password": "a good password"})
    assert answer.headers["Location"] == "/bookmarks?x=1"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        " //evil.example",
        "///evil.example",
        "http:evil.example",
        "/x\r\nSet-Cookie: a=b",
        "//[",
        "/\x7f/evil.example",
        "",
    ],
)
def test_login_leads_to_no_other_site(app: Flask, target: str) -> None:
    Browser(app).register()
    browser = Browser(app)
    answer = browser.login(next=target)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/"
