from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.mirroring.redact import Redactor
from graft.mirroring.secret_names import Family

PLANTED = "s3cr3t-V4lue"
REDACTOR = Redactor(["X-Internal-Key"])
GONE = REDACTOR.strike(PLANTED)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "password",
        "user_password",
        "newPassword",
        "access_token",
        "X-Api-Key",
        "apiKey",
        "client_secret",
        "csrf_token",
        "X-CSRFToken",
        "sessionid",
        "session",
        "pin",
        "PASSPHRASE",
        "x_internal_key",
        "xInternalKey",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert REDACTOR.family(name) is not Family.NONE


@pytest.mark.parametrize(
    "name",
    [
        "author",
        "spinner",
        "title",
        "compass",
        "name",
        "opinion",
        "q",
        "authenticated_at",
        "tokens_used",
        "password_policy",
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert REDACTOR.family(name) is Family.NONE


def test_headers_lose_their_secrets_and_cookies_keep_their_names() -> None:
    headers = (
        (b"Authorization", b"Bearer " + PLANTED.encode()),
        (b"cookie", f"session={PLANTED}; theme={PLANTED}".encode()),
        (b"Set-Cookie", f"session={PLANTED}; Path=/; HttpOnly".encode()),
        (b"X-Internal-Key", PLANTED.encode()),
        (b"referer", f"https://host/x?token={PLANTED}&page=2".encode()),
        (b"accept", b"text/html"),
    )
    shown = REDACTOR.headers(headers)
    assert PLANTED not in json.dumps(shown)
    assert ["cookie", f"session={GONE}; theme={GONE}"] in shown
    assert ["Set-Cookie", f"session={GONE}; Path=/; HttpOnly"] in shown
    assert ["accept", "text/html"] in shown
    assert any("page=2" in value for _, value in shown)


def test_queries_and_forms_lose_their_secrets_and_nothing_else() -> None:
    assert REDACTOR.query(f"q=a%20b&api_key={PLANTED}") == f"q=a+b&api_key={GONE}"
    assert REDACTOR.query("q=a%20b&x") == "q=a%20b&x"
    assert (
        REDACTOR.body(f"user=ada&password={PLANTED}".encode(), "application/x-www-form-urlencoded")
        == f"user=ada&password={GONE}"
    )


def test_json_loses_its_secrets_at_any_depth() -> None:
    body = json.dumps({"a": [{"b": {"Access-Token": {"x": PLANTED}}}, 1, f"password={PLANTED}"], "title": "é"}).encode()
    shown = REDACTOR.body(body, "application/json; charset=utf-8")
    assert PLANTED not in shown
    assert json.loads(shown)["title"] == "é"


@pytest.mark.parametrize("body", [f'{{"token": "{PLANTED}"', "[" * 5000 + f'{{"token": "{PLANTED}"}}' + "]" * 5000])
def test_broken_and_deep_json_loses_its_secrets_too(body: str) -> None:
    assert PLANTED not in REDACTOR.body(body.encode(), "application/json")


@pytest.mark.parametrize(
    "tag",
    [
        f'<input type="hidden" name="csrf_token" value="{PLANTED}">',
        f"<input name='password' value='{PLANTED}'>",
        f"<INPUT VALUE={PLANTED} NAME=token>",
        f'<input type="hidden" name="next" value="{PLANTED}">',
        f'<meta name="csrf-token" content="{PLANTED}">',
        f'<a href="/reset?token={PLANTED}">',
    ],
)
def test_html_loses_the_secrets_of_its_forms(tag: str) -> None:
    shown = REDACTOR.body(f"<p>Hello</p>{tag}<input name=q value=kept>".encode(), "text/html")
    assert PLANTED not in shown
    assert "kept" in shown


@pytest.mark.parametrize(
    "text",
    [
        f"password={PLANTED}",
        f"password = '{PLANTED} and more'",
        f'{{"api_key": "{PLANTED}"}}',
        f'{{\\"api_key\\": \\"{PLANTED}\\"}}',
        f"X-Internal-Key: {PLANTED}",
        f"Authorization: Bearer {PLANTED}",
        f"headers={{'Authorization': 'Basic {PLANTED}'}}",
        f"ValueError: wrong password '{PLANTED}'",
        f"postgresql://user:{PLANTED}@db/x",
        f"row['secret'] = {PLANTED}",
    ],
)
def test_texts_such_as_tracebacks_lose_their_secrets(text: str) -> None:
    assert PLANTED not in REDACTOR.text(f"Traceback:\n  File x\n{text}\n")


def test_tokens_are_known_by_their_looks() -> None:
    token = "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"
    assert REDACTOR.text(f"see {token} here") == f"see {REDACTOR.strike(token)} here"


def test_binary_bodies_are_only_described() -> None:
    assert REDACTOR.body(b"\xff\x00", "image/png") == "2 bytes of image/png"
    assert REDACTOR.body(b"\xff", "") == "1 bytes of unknown type"


def test_values_of_differences_lose_their_secrets() -> None:
    assert REDACTOR.at(("body", "token"), PLANTED) == GONE
    assert REDACTOR.at(("body", "html", "input", 0, "@value"), PLANTED) == GONE
    assert REDACTOR.at(("header", "set-cookie"), f"a={PLANTED}") == f"a={GONE}"
    assert REDACTOR.at(("body",), f"token={PLANTED}") == f"token={GONE}"
    assert REDACTOR.at(("body", "Mail"), "ada@example.org") == REDACTOR.strike("ada@example.org")
    assert REDACTOR.at(("body", "title"), "kept") == "kept"
    assert REDACTOR.at(("body", "token"), None) is None


def test_the_values_of_secrets_are_found_to_be_looked_for_elsewhere() -> None:
    headers = (
        (b"authorization", b"Bearer abcdefgh"),
        (b"cookie", b'a=cookie-a; b="cookie-b"; c=short'),
        (b"set-cookie", b"a=cookie-d; Path=/some-path"),
    )
    body = json.dumps([{"password": "in-the-body", "n": [{"token": "in-depth"}]}, "other-text"]).encode()
    found = REDACTOR.secrets(headers, "q=something&token=in-the-query", body)
    assert found == {"abcdefgh", "cookie-a", "cookie-b", "cookie-d", "in-the-body", "in-depth", "in-the-query"}


def test_the_form_that_is_a_body_is_searched_for_secrets() -> None:
    assert REDACTOR.secrets((), "", b"password=in-the-form&a=b") == {"in-the-form"}


@given(st.text(max_size=300))
def test_any_text_can_be_redacted(text: str) -> None:
    once = REDACTOR.text(text)
    assert REDACTOR.text(f"{once} password={PLANTED}").find(PLANTED) == -1
