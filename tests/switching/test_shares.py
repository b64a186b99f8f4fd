from __future__ import annotations

import pytest

from graft.switching.shares import BUCKETS, ClientKeys, Shares
from graft.types import RouteKey, Scope

CLIENTS = ClientKeys()
ROUTE = RouteKey("GET", "/api/articles/{id:int}")


def request(address: str = "203.0.113.9", agent: str = "browser", cookie: str = "", user: str = "") -> Scope:
    headers = [(b"user-agent", agent.encode()), (b"cookie", cookie.encode()), (b"x-user", user.encode())]
    return {"type": "http", "client": (address, 1234), "headers": headers}


def clients(count: int) -> list[Scope]:
    return [request(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}") for i in range(count)]


@pytest.mark.parametrize("share", [1, 10, 25, 50, 90, 99])
def test_the_measured_share_is_the_set_one(share: int) -> None:
    shares = Shares(ROUTE, CLIENTS("client"))
    native = sum(shares.bucket(client) < share * BUCKETS / 100 for client in clients(20_000))
    assert native / 200 == pytest.approx(share, abs=1.5)


def test_a_client_has_one_bucket_for_good() -> None:
    """Whatever worker, restart or release: a change here moves every user of every canary."""
    assert [Shares(ROUTE, CLIENTS("client")).bucket(client) for client in clients(3)] == [544, 8337, 9330]


def test_routes_are_independent() -> None:
    one, other = Shares(ROUTE, CLIENTS("client")), Shares(RouteKey("POST", ROUTE.path), CLIENTS("client"))
    both = sum(one.bucket(client) < 5000 and other.bucket(client) < 5000 for client in clients(20_000))
    assert both / 200 == pytest.approx(25, abs=1.5)


def test_a_cookie_holds_a_client_wherever_it_comes_from() -> None:
    shares = Shares(ROUTE, CLIENTS("cookie:visitor"))
    home, train = request("198.51.100.1", cookie="a=b; visitor=42"), request("192.0.2.7", "phone", "visitor=42;c=d")
    assert shares.bucket(home) == shares.bucket(train)
    assert shares.bucket(home) != shares.bucket(request(cookie="visitor=43"))


def test_a_header_holds_a_client_wherever_it_comes_from() -> None:
    shares = Shares(ROUTE, CLIENTS("header:X-User"))
    assert shares.bucket(request("198.51.100.1", user="ada")) == shares.bucket(request("192.0.2.7", user="ada"))
    assert shares.bucket(request(user="ada")) != shares.bucket(request(user="bob"))


@pytest.mark.parametrize("sticky", ["cookie:visitor", "header:X-User"])
def test_without_its_cookie_or_header_a_client_is_its_address_and_agent(sticky: str) -> None:
    anonymous = request(cookie="other=1")
    assert Shares(ROUTE, CLIENTS(sticky)).bucket(anonymous) == Shares(ROUTE, CLIENTS("client")).bucket(anonymous)


def test_a_client_behind_a_unix_socket_is_its_agent() -> None:
    scope: Scope = {"type": "http", "client": None, "headers": [(b"user-agent", b"x")]}
    assert 0 <= Shares(ROUTE, CLIENTS("client")).bucket(scope) < BUCKETS
    assert Shares(ROUTE, CLIENTS("cookie:a")).bucket({"type": "http", "headers": []}) >= 0
