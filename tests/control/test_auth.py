from __future__ import annotations

import json
import logging
import os
import time
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from graft.control.auth import COOKIE
from graft.control.logins import LIFETIME, Logins
from graft.control.throttle import Throttle
from graft.control.tokens import Role, Tokens, digest_of, named_tokens, new_token
from graft.errors import SettingError
from tests.control.app import BEARER, OPERATOR, TOKEN, TOKENS, VIEWER, bearer, cookie_value, gateway, native, table_of

OWN_PAGE = {"origin": "https://shop.example", "sec-fetch-site": "same-origin"}
CHANGE = {"route": "GET /a", "share": 10}


def client(
    folder: Path, base_url: str = "https://shop.example", root_path: str = "", tokens: Tokens = TOKENS
) -> TestClient:
    app = gateway(table_of([native("/a")], "/a"), folder / "switches.toml", tokens)
    return TestClient(app, base_url=base_url, root_path=root_path, follow_redirects=False)


def cookie_of(response: object) -> SimpleCookie:
    return SimpleCookie(response.headers["set-cookie"])  # type: ignore[attr-defined]


def test_a_login_gives_a_cookie_that_opens_the_control_plane(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    assert gateway.get("/_graft/api/routes").status_code == 401
    response = gateway.post("/_graft/login", json={"token": TOKEN}, headers=OWN_PAGE)
    assert (response.status_code, response.content) == (204, b"")
    cookie = cookie_of(response)[COOKIE]
    assert (cookie["path"], cookie["samesite"], cookie["httponly"], cookie["secure"]) == (
        "/_graft",
        "strict",
        True,
        True,
    )
    assert int(cookie["max-age"]) == LIFETIME
    assert TOKEN not in cookie.value
    assert gateway.get("/_graft/api/routes").status_code == 200
    assert gateway.get("/_graft/metrics").status_code == 200


def test_the_cookie_follows_the_prefix_and_the_scheme(tmp_path: Path) -> None:
    gateway = client(tmp_path, "http://shop.example", root_path="/app")
    cookie = cookie_of(gateway.post("/app/_graft/login", json={"token": TOKEN}))[COOKIE]
    assert (cookie["path"], cookie["secure"]) == ("/app/_graft", "")


def test_a_logout_takes_the_cookie_back(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    gateway.post("/_graft/login", json={"token": TOKEN})
    assert gateway.post("/_graft/logout", headers=OWN_PAGE).status_code == 204
    assert gateway.get("/_graft/api/routes").status_code == 401
    assert gateway.post("/_graft/logout", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def cookie_of_age(seconds: float) -> str:
    """A cookie that was made so long ago."""
    now = time.time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now - seconds)
        return cookie_value(TOKEN)


def test_a_login_lasts_to_its_last_moment(tmp_path: Path) -> None:
    cookie = f"{COOKIE}={cookie_of_age(LIFETIME - 60)}"
    assert client(tmp_path).get("/_graft/api/routes", headers={"cookie": cookie}).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        TOKEN,
        cookie_value("other"),
        cookie_of_age(LIFETIME + 2),
        cookie_of_age(-86_400),  # made when the tests are collected: they may run for a while
        cookie_value(TOKEN).rpartition(".")[2],
        cookie_of_age(LIFETIME + 2).rpartition(".")[0] + "." + cookie_value(TOKEN).rpartition(".")[2],
        f"{int(time.time()) + 1000}." + "0" * 64,
    ],
    ids=["empty", "dot", "token", "other", "old", "future", "signature", "forged", "of an earlier version"],
)
def test_a_cookie_that_was_made_up_or_is_old_opens_nothing(tmp_path: Path, value: str) -> None:
    response = client(tmp_path).get("/_graft/api/routes", headers={"cookie": f"{COOKIE}={value}"})
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN_PAGE, 200),
        ({"origin": "https://shop.example"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "https://other.shop.example"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://["}, 403),
        ({"referer": "https://shop.example/_graft/"}, 200),
        ({"referer": "https://evil.example/_graft/"}, 403),
        ({"referer": "https://evil.example/?https://shop.example"}, 403),
        ({"referer": "about:blank"}, 403),
        ({"referer": "https://shop.example/", "origin": "https://evil.example"}, 403),
        ({"referer": "https://evil.example/", "sec-fetch-site": "same-origin"}, 403),
        ({"origin": "https://shop.example.evil.example"}, 403),
        ({"origin": "https://shop.example@evil.example"}, 403),
    ],
)
def test_a_change_with_the_cookie_has_to_come_from_the_own_page(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    gateway = client(tmp_path)
    gateway.post("/_graft/login", json={"token": TOKEN})
    assert gateway.patch("/_graft/api/routes", json=CHANGE, headers=headers).status_code == status
    assert (tmp_path / "switches.toml").exists() == (status == 200)


def test_a_change_with_the_bearer_may_come_from_anywhere(tmp_path: Path) -> None:
    assert client(tmp_path).patch("/_graft/api/routes", json=CHANGE, headers=BEARER).status_code == 200


def test_a_foreign_page_can_t_log_anyone_in(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    cross = gateway.post("/_graft/login", json={"token": TOKEN}, headers={"origin": "https://evil.example"})
    form = gateway.post("/_graft/login", data={"token": TOKEN})
    assert (cross.status_code, form.status_code) == (403, 415)
    assert "set-cookie" not in {*cross.headers, *form.headers}
    assert gateway.post("/_graft/login", json={"token": 7}).status_code == 400


def test_guesses_are_throttled_and_the_token_is_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gateway = client(tmp_path)
    with caplog.at_level(logging.DEBUG):
        answers = [gateway.post("/_graft/login", json={"token": f"guess-{n}"}).status_code for n in range(8)]
        answers += [
            gateway.get("/_graft/metrics", headers={"authorization": f"Bearer guess-{n}"}).status_code for n in range(2)
        ]
        refused = gateway.post("/_graft/login", json={"token": "guess-11"})
    assert answers == [401] * 10
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert gateway.get("/_graft/metrics", headers=bearer("guess")).status_code == 429
    assert gateway.get("/_graft/health").status_code == 200
    assert "wrong admin token from testclient" in caplog.text
    assert "guess-" not in caplog.text
    assert TOKEN not in caplog.text


def test_requests_without_a_token_are_no_guesses(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    assert {gateway.get("/_graft/metrics").status_code for _ in range(30)} == {401}
    assert gateway.get("/_graft/metrics", headers=BEARER).status_code == 200


def test_tokens_of_strange_characters_are_wrong_not_an_error(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    for token in ("", "é", "\ud800", "\x00", "x" * 10_000):
        body, headers = json.dumps({"token": token}), {"content-type": "application/json"}
        assert gateway.post("/_graft/login", content=body, headers=headers).status_code == 401
    assert gateway.get("/_graft/metrics", headers={b"authorization": b"Bearer \xff\xfe"}).status_code == 401


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_throttle_opens_again_after_its_window() -> None:
    clock = Clock()
    throttle = Throttle(allowed=2, window=60, clock=clock)
    throttle.failed("192.0.2.1")
    assert throttle.wait("192.0.2.1") == 0
    clock.now = 10
    throttle.failed("192.0.2.1")
    assert throttle.wait("192.0.2.1") == 50
    assert throttle.wait("192.0.2.2") == 0
    clock.now = 60
    assert throttle.wait("192.0.2.1") == 0
    throttle.failed("192.0.2.1")
    assert throttle.wait("192.0.2.1") == 0


def test_addresses_of_one_customer_count_as_one() -> None:
    throttle = Throttle(allowed=1)
    throttle.failed("2001:db8::1")
    throttle.failed("::ffff:192.0.2.9")
    throttle.failed("not an address")
    assert throttle.wait("2001:db8::ffff:2")
    assert throttle.wait("2001:db8::1%eth0")
    assert throttle.wait("2001:db8:0:ffff::1")
    assert not throttle.wait("2001:db8:1::1")
    assert not throttle.wait("192.0.2.8")
    assert throttle.wait("192.0.2.9")
    assert throttle.wait("not an address")


def test_the_throttle_remembers_a_bounded_number_of_addresses() -> None:
    throttle = Throttle(allowed=1, remembered=100)
    for number in range(500):
        throttle.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(throttle._failures) == 100
    assert throttle.wait("10.0.1.243")


def test_nobody_locks_the_right_token_out(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    gateway.post("/_graft/login", json={"token": TOKEN})
    cookie = {"cookie": f"{COOKIE}={gateway.cookies[COOKIE]}"}
    gateway.cookies.clear()
    assert [gateway.get("/_graft/metrics", headers=bearer(f"{n}")).status_code for n in range(12)][-1] == 429
    assert gateway.get("/_graft/metrics", headers=BEARER).status_code == 200
    assert gateway.post("/_graft/login", json={"token": TOKEN}).status_code == 204
    gateway.cookies.clear()
    assert gateway.get("/_graft/metrics", headers=cookie).status_code == 200
    assert gateway.get("/_graft/metrics", headers=bearer("12")).status_code == 429


def test_a_logout_ends_the_login_itself_in_every_worker_and_after_a_restart(tmp_path: Path) -> None:
    first, second = client(tmp_path), client(tmp_path)
    first.post("/_graft/login", json={"token": TOKEN})
    second.post("/_graft/login", json={"token": TOKEN})
    stolen, other = first.cookies[COOKIE], second.cookies[COOKIE]
    first.post("/_graft/logout", headers=OWN_PAGE)
    for worker in (client(tmp_path), client(tmp_path)):
        assert worker.get("/_graft/api/routes", headers={"cookie": f"{COOKIE}={stolen}"}).status_code == 401
        assert worker.get("/_graft/api/routes", headers={"cookie": f"{COOKIE}={other}"}).status_code == 200


def test_a_logout_holds_here_where_it_can_not_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ended-logins").write_text("a file where the folder should be")
    gateway = client(tmp_path)
    gateway.post("/_graft/login", json={"token": TOKEN})
    cookie = gateway.cookies[COOKIE]
    assert gateway.post("/_graft/logout", headers=OWN_PAGE).status_code == 204
    assert gateway.get("/_graft/api/routes", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 401
    assert "a logout holds in this worker alone" in caplog.text


def test_strangers_can_not_fill_the_folder_of_ended_logins(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    for value in ("x", "../../admin-token.a.b", cookie_value("other")):
        gateway.post("/_graft/logout", headers={**OWN_PAGE, "cookie": f"{COOKIE}={value}"})
    assert not (tmp_path / "ended-logins").exists()


def test_ended_logins_are_forgotten_when_their_cookie_would_be_too_old(tmp_path: Path) -> None:
    logins = Logins(TOKENS, tmp_path / "ended")
    logins.end(logins.begin(TOKENS.all[0]))
    [old] = (tmp_path / "ended").iterdir()
    os.utime(old, (time.time() - LIFETIME - 10,) * 2)
    logins.end(logins.begin(TOKENS.all[0]))
    [kept] = (tmp_path / "ended").iterdir()
    assert kept != old


# Roles


CHANGES = [
    ("PATCH", "/_graft/api/routes", CHANGE),
    ("POST", "/_graft/api/rollback", {}),
    ("DELETE", "/_graft/api/differences", {}),
]
READS = ["metrics", "api/routes", "api/figures?route=GET /a", "api/differences", "api/history"]


def test_a_viewer_reads_everything_and_changes_nothing(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    with gateway:
        for path in READS:
            assert gateway.get(f"/_graft/{path}", headers=bearer(VIEWER[0])).status_code == 200
    for method, path, body in CHANGES:
        refused = gateway.request(method, path, json=body, headers=bearer(VIEWER[0]))
        assert refused.status_code == 403
        assert refused.json()["error"]["message"] == "wall may look and change nothing: the token's role is viewer."
    gateway.post("/_graft/login", json={"token": VIEWER[0]})
    assert gateway.get("/_graft/api/routes").json()["you"] == {"name": "wall", "role": "viewer"}
    assert gateway.patch("/_graft/api/routes", json=CHANGE, headers=OWN_PAGE).status_code == 403
    assert not (tmp_path / "switches.toml").exists()


def test_the_history_names_whose_token_it_was(tmp_path: Path) -> None:
    gateway = client(tmp_path)
    assert gateway.patch("/_graft/api/routes", json=CHANGE, headers=bearer(OPERATOR[0])).status_code == 200
    gateway.post("/_graft/login", json={"token": OPERATOR[0]})
    gateway.patch("/_graft/api/routes", json={**CHANGE, "share": 20}, headers=OWN_PAGE)
    gateway.cookies.clear()
    gateway.patch("/_graft/api/routes", json={**CHANGE, "share": 30}, headers=BEARER)
    events = gateway.get("/_graft/api/history", headers=BEARER).json()["history"]
    assert [(event["to"]["share"], event["by"]) for event in events] == [(30, "admin token"), (20, "ada"), (10, "ada")]


def test_while_a_token_is_changed_the_old_and_the_new_one_are_good(tmp_path: Path) -> None:
    (old, kept), (new, fresh) = (new_token("ada", Role.OPERATOR) for _ in range(2))
    both = client(tmp_path, tokens=Tokens(TOKEN, (kept, fresh)))
    assert [both.get("/_graft/metrics", headers=bearer(token)).status_code for token in (old, new)] == [200, 200]
    both.post("/_graft/login", json={"token": old})
    cookie = {"cookie": f"{COOKIE}={both.cookies[COOKIE]}"}
    after = client(tmp_path, tokens=Tokens(TOKEN, (fresh,)))
    assert [after.get("/_graft/metrics", headers=bearer(token)).status_code for token in (old, new)] == [401, 200]
    assert after.get("/_graft/metrics", headers=cookie).status_code == 401


def test_a_hash_that_somebody_has_read_opens_nothing(tmp_path: Path) -> None:
    gateway, digest = client(tmp_path), OPERATOR[1].digest
    assert gateway.get("/_graft/metrics", headers=bearer(digest)).status_code == 401
    assert gateway.get("/_graft/metrics", headers=bearer(OPERATOR[1].entry)).status_code == 401
    forged = Logins(Tokens(digest, (OPERATOR[1],)), None).begin(OPERATOR[1])
    assert gateway.get("/_graft/metrics", headers={"cookie": f"{COOKIE}={forged}"}).status_code == 401


def test_named_tokens_are_read_from_the_setting_or_a_file(tmp_path: Path) -> None:
    entries = [VIEWER[1].entry, OPERATOR[1].entry.replace(OPERATOR[1].digest, OPERATOR[1].digest.upper())]
    path = tmp_path / "tokens"
    path.write_text("# who may\n\n" + "\n".join(entries) + "\n")
    for setting in (", ".join(entries), str(path)):
        assert named_tokens(setting) == (VIEWER[1], OPERATOR[1])
    assert named_tokens(None) == named_tokens("") == ()


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("ada:operator", "entry 1, ada, has no SHA-256 in hex"),
        ("ada:operator:secret", "entry 1, ada, has no SHA-256 in hex"),
        (f"{VIEWER[1].entry},ada:root:{'0' * 64}", "entry 2, ada, has the role 'root'. A role is viewer or operator."),
        (f":viewer:{'0' * 64}", "entry 1 has no name"),
        (f"admin token:operator:{'0' * 64}", "entry 1 has no name"),
        (f"a\nb:viewer:{'0' * 64}", "entry 1 has no name"),
        ("nowhere.txt", "nowhere.txt can't be read: No such file or directory"),
    ],
)
def test_a_wrong_entry_is_named_without_its_hash(setting: str, found: str) -> None:
    with pytest.raises(SettingError) as raised:
        named_tokens(setting)
    assert str(raised.value).startswith(f"GRAFT_ADMIN_TOKENS: {found}")
    assert "secret" not in str(raised.value)
    assert "0" * 64 not in str(raised.value)


def test_strange_tokens_have_a_digest() -> None:
    assert {len(digest_of(token)) for token in ("", "é", "\ud800", "x" * 100_000)} == {64}
