from __future__ import annotations

import json
import logging
import time
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from graft.control.auth import COOKIE, LIFETIME, cookie_value
from graft.control.throttle import Throttle
from tests.control.app import BEARER, TOKEN, gateway, native, table_of

OWN_PAGE = {"origin": "https://shop.example", "sec-fetch-site": "same-origin"}
CHANGE = {"route": "GET /a", "share": 10}


def client(folder: Path, base_url: str = "https://shop.example", root_path: str = "") -> TestClient:
    app = gateway(table_of([native("/a")], "/a"), folder / "switches.toml")
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
        cookie_of_age(-60),
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
        refused = gateway.post("/_graft/login", json={"token": TOKEN})
    assert answers == [401] * 10
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert gateway.get("/_graft/metrics", headers=BEARER).status_code == 429
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
    assert not throttle.wait("2001:db8:0:1::1")
    assert throttle.wait("192.0.2.9")
    assert throttle.wait("not an address")


def test_the_throttle_remembers_a_bounded_number_of_addresses() -> None:
    throttle = Throttle(allowed=1, remembered=100)
    for number in range(500):
        throttle.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(throttle._failures) == 100
    assert throttle.wait("10.0.1.243")
