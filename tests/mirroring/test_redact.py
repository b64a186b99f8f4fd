from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.mirroring.redact import LARGEST_JSON, Redactor
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


@pytest.mark.parametrize(
    "rows",
    [
        {"name": "password", "value": PLANTED},
        {"value": PLANTED, "name": "password"},
        {"key": "Authorization", "value": PLANTED},
        {"field": "apiKey", "content": PLANTED},
        {"id": "csrf_token", "type": "hidden", "label": "", "default": PLANTED},
        {"header": "X-Internal-Key", "values": [PLANTED, PLANTED]},
        {"name": "phone", "value": "0721 555 018"},
        {"setting": "db_password", "old_value": "abc", "new_value": PLANTED},
        ["X-Api-Key", PLANTED],
    ],
)
@pytest.mark.parametrize("long", [False, True])
def test_a_value_is_called_as_its_neighbour_says(rows: object, long: bool) -> None:
    """Also in JSON that is too long to be taken apart, if the name stands in front."""
    body = json.dumps({"form": [rows], "title": "kept"})
    if long and not body.startswith('{"form": [{"value"') and isinstance(rows, dict):
        body += " " * LARGEST_JSON
    shown = REDACTOR.body(body.encode(), "application/json")
    assert PLANTED not in shown
    assert "0721" not in shown
    assert "kept" in shown


def test_a_neighbour_that_is_no_name_of_a_secret_hides_nothing() -> None:
    harmless = [
        {"name": "title", "value": "A river runs through it"},
        {"key": "page", "value": "12", "id": "row-1"},
        {"name": "Ada", "content": "tokens and passwords"},
        ["password", "and", "more"],
        {"id": "body", "data": {"name": "x"}, "values": [1, 2]},
    ]
    assert REDACTOR.value(harmless) == harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("card2=5555 5555 5555 1234 x", "card2={} x"),
        ("tel2=(212) 555-0187, x", "tel2={}, x"),
        ("iban: DE89 3704 0044 0532 0130 00 x", "iban: {} x"),
        ("phone=+49 170 1234567 x", "phone={} x"),
        ("aws=AKIAIOSFODNN7QZXCVBN x", "aws={} x"),
        ("id AKIAIOSFODNN7QZXCVBN;", "id {};"),
        ("https://s3/?k=ASIAIOSFODNN7QZXCVBN&x=1", "https://s3/?k={}&x=1"),
        ("etag=87886dddd7918da2 x", "etag={} x"),
        ("note=ghp_16C7e42F292c6912E7710c838347Ae178B4a x", "note={} x"),
    ],
)
def test_a_secret_behind_a_name_in_a_text_goes_as_a_whole(text: str, shown: str) -> None:
    before, _, after = shown.partition("{}")
    secret = text.removeprefix(before).removesuffix(after)
    assert REDACTOR.text(text) == shown.format(REDACTOR.strike(secret))


def test_a_token_among_tokens_is_one_whatever_its_letters() -> None:
    rows = [{"id": n, "link": f"{random.Random(n).getrandbits(64):016x}", "tag": "riverside-walk"} for n in range(40)]
    rows[7]["link"] = "9014273650918273"  # of digits alone, as one in two thousand is
    rows[8]["link"] = "unknown"
    shown = json.loads(REDACTOR.body(json.dumps(rows).encode(), "application/json"))
    assert [row["id"] for row in shown if not row["link"].startswith("[redacted:")] == [8]
    assert {row["tag"] for row in shown} == {"riverside-walk"}


@pytest.mark.parametrize(
    "harmless",
    [
        '<link href="/static/css/simple-datatables@10.2.0.css?2.26.1">',
        '<path d="M12 2a10 10 0 1 0 0 20M3.515 4.929l1.414-1.414L7.05 555 555 5555"/>',
        '<input type="hidden" name="_sort" value="name"><input type="hidden" name="_size" value="100">',
        '<input type="submit" name="set-password" value="Change it"><input type="radio" name="password" value="yes">',
    ],
)
def test_what_says_nothing_in_a_page_stays(harmless: str) -> None:
    assert Redactor().body(harmless.encode(), "text/html") == harmless


def test_a_header_that_is_called_as_a_secret_and_says_true_stays() -> None:
    headers = ((b"access-control-allow-credentials", b"true"), (b"x-credentials", b"s3cret"))
    shown = dict(Redactor().headers(headers))
    assert shown["access-control-allow-credentials"] == "true"
    assert shown["x-credentials"].startswith("[redacted")


def test_a_secret_in_a_form_goes_in_fields_of_every_kind() -> None:
    for kind in ("hidden", "radio", "checkbox", "password"):
        page = f'<input type="{kind}" name="token" value="correct-horse">'
        assert "correct" not in Redactor().body(page.encode(), "text/html")
    assert "horse" not in Redactor().body(b'<path d="horse@example.org"/>', "text/html")


def test_all_of_a_list_behind_a_name_goes_in_a_text() -> None:
    for text in ("recovery_codes: ['abcd-1234', 'wxyz-9876']", "password=('abcd-1234', 'wxyz-9876')"):
        shown = Redactor().text(text)
        assert "abcd" not in shown
        assert "wxyz" not in shown
