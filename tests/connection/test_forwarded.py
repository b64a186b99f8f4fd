from __future__ import annotations

import json
import logging
import socket
from typing import Any

import flask
import httpx2 as httpx
import pytest
from flask import Flask
from starlette.datastructures import URL
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from websockets.sync.client import connect as connect_websocket
from werkzeug.middleware.proxy_fix import ProxyFix

from graft.connection import forwarded
from graft.connection.forwarded import ForwardedHeaders
from graft.settings import Settings
from graft.types import PEER
from tests.bridge.wire import get, read_all, serving
from tests.flaskside.native import World

ALL = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
    "X-Forwarded-Port": "8443",
    "X-Forwarded-Prefix": "/app",
}


EACH = ("host", "port", "prefix")


def make_world(proxy_fix: bool = False, prefix: str = "") -> World:
    app = Flask(__name__)
    if proxy_fix:
        app.wsgi_app = ProxyFix(app.wsgi_app, 1, 1, 1, 1, 1)  # type: ignore[method-assign]

    @app.get("/legacy")
    def legacy() -> dict[str, Any]:
        request = flask.request
        return {
            "url": request.url,
            "client": request.remote_addr,
            "to": flask.url_for("legacy", _external=True),
            "root": request.script_root,
        }

    world = World(app, prefix=prefix)

    @world.native(f"{prefix}/native")
    async def native(request: Request) -> Response:
        return JSONResponse(
            {
                "url": str(request.url).replace("native", "legacy"),
                "client": request.client.host if request.client else None,
                "to": request.state.legacy.url_for(request, "legacy", _external=True),
                "root": request.scope["root_path"] + prefix,
            }
        )

    return world


async def both(
    world: World,
    headers: dict[str, str],
    *,
    peer: str = "127.0.0.1",
    trusted: str = "127.0.0.1",
    honours: tuple[str, ...] = EACH,
) -> Any:
    """What both sides say of one request, which must be the same; as Uvicorn and the gateway see it."""
    app = ProxyHeadersMiddleware(world.asgi([Middleware(ForwardedHeaders, trusted, honours)]), trusted)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app, client=(peer, 4711))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as client:
        said = [(await client.get(f"{world.prefix}/{side}", headers=headers)).json() for side in ("native", "legacy")]
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("proxy_fix", [True, False], ids=["ProxyFix", "plain"])
async def test_both_sides_see_what_a_trusted_proxy_says(proxy_fix: bool) -> None:
    assert await both(make_world(proxy_fix), ALL) == {
        "url": "https://shop.example:8443/app/legacy",
        "client": "203.0.113.9",
        "to": "https://shop.example:8443/app/legacy",
        "root": "/app",
    }


@pytest.mark.parametrize(
    ("proxy_fix", "url"),
    [(True, "https://shop.example:8443/app/legacy"), (False, "https://inside:8000/legacy")],
    ids=["ProxyFix", "plain"],
)
async def test_what_a_proxy_may_have_let_through_counts_for_an_app_that_believes_it_and_for_nobody_else(
    proxy_fix: bool, url: str
) -> None:
    app = make_world(proxy_fix).app
    sides = Settings().forwarded
    transport = httpx.ASGITransport(  # the legacy side: a native route does not go by the app's ProxyFix
        ProxyHeadersMiddleware(World(app).asgi([Middleware(ForwardedHeaders, "127.0.0.1", sides)]), "127.0.0.1"),  # type: ignore[arg-type]
        client=("127.0.0.1", 4711),
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as client:
        said = (await client.get("/legacy", headers=ALL)).json()
    assert (said["url"], said["to"], said["client"]) == (url, url, "203.0.113.9")


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"X-Forwarded-Ssl": "on"}, "https"),
        ({"X-Forwarded-Protocol": "ssl"}, "https"),
        ({"X-Forwarded-Ssl": "off"}, "http"),
        ({"X-Forwarded-Protocol": "http"}, "http"),
        ({"X-Forwarded-Ssl": "on", "X-Forwarded-Proto": "http"}, "http"),
        ({"X-Forwarded-Ssl": "off", "X-Forwarded-Proto": "https"}, "https"),
    ],
)
async def test_older_words_for_https_count_as_under_gunicorn(headers: dict[str, str], scheme: str) -> None:
    assert (await both(make_world(), headers, honours=()))["url"] == f"{scheme}://inside:8000/legacy"
    assert (await both(make_world(), headers, peer="198.51.100.7"))["url"] == "http://inside:8000/legacy"


@pytest.mark.parametrize("proxy_fix", [True, False], ids=["ProxyFix", "plain"])
async def test_a_mount_prefix_comes_below_the_proxys_prefix(proxy_fix: bool) -> None:
    said = await both(make_world(proxy_fix, "/old"), ALL)
    assert said["url"] == "https://shop.example:8443/app/old/legacy"
    assert said["root"] == "/app/old"


@pytest.mark.parametrize("proxy_fix", [True, False], ids=["ProxyFix", "plain"])
async def test_a_stranger_is_believed_nothing_and_told_so_once(
    proxy_fix: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarded, "_warned", False)
    caplog.set_level(logging.WARNING)
    assert await both(make_world(proxy_fix), ALL, peer="198.51.100.7") == {
        "url": "http://inside:8000/legacy",
        "client": "198.51.100.7",
        "to": "http://inside:8000/legacy",
        "root": "",
    }
    warnings = [record.getMessage() for record in caplog.records if "FORWARDED_ALLOW_IPS" in record.getMessage()]
    assert len(warnings) == 1
    assert "198.51.100.7" in warnings[0]


async def test_a_unix_socket_has_no_address_and_is_only_trusted_by_a_star() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["root_path"], dict(scope["headers"]).get(b"host")))

    scope = {
        "type": "http",
        "path": "/",
        "root_path": "",
        "headers": [(b"host", b"inside"), (b"x-forwarded-host", b"shop.example")],
        "client": None,
    }
    for trusted in ("127.0.0.1", "*"):
        await ForwardedHeaders(app, trusted, EACH)(dict(scope), None, None)  # type: ignore[arg-type]
    assert seen == [("", b"inside"), ("", b"shop.example")]


@pytest.mark.parametrize("client", ["203.0.113.9:52011", "[2001:db8::9]:52011", "203.0.113.9"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "198.51.100.7"])
async def test_a_proxy_that_names_the_clients_port_is_believed_all_the_rest(client: str, peer: str) -> None:
    world = make_world()
    app = ProxyHeadersMiddleware(world.asgi([Middleware(ForwardedHeaders, "127.0.0.1", EACH)]), "127.0.0.1")  # type: ignore[arg-type]

    async def connection(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, PEER: scope["client"]}, receive, send)

    # A stranger may say the port that its own connection has.
    transport = httpx.ASGITransport(connection, client=(peer, 52011))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as asking:
        said = (await asking.get("/native", headers={**ALL, "X-Forwarded-For": client})).json()
    trusted = peer == "127.0.0.1"
    assert said["url"] == ("https://shop.example:8443/app/legacy" if trusted else "http://inside:8000/legacy")
    assert said["client"] == (client.removesuffix(":52011").strip("[]") if trusted else peer)


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("trusted", ["127.0.0.1", "198.51.100.7"])
def test_so_it_is_under_uvicorns_own_protocols(http: str, trusted: str) -> None:
    app = make_world().asgi([Middleware(ForwardedHeaders, trusted, EACH)])
    with serving(app, http=http, forwarded_allow_ips=trusted) as port, socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.connect(("127.0.0.1", port))
        client = "203.0.113.9:52011" if trusted == "127.0.0.1" else "{}:{}".format(*stranger.getsockname())
        lines = [f"{name}: {value}" for name, value in {**ALL, "X-Forwarded-For": client}.items()]
        stranger.sendall(get("/native", *lines))
        said = json.loads(read_all(stranger).partition(b"\r\n\r\n")[2])
    assert said["url"] == ("https://shop.example:8443/app/legacy" if trusted == "127.0.0.1" else "http://test/legacy")


@pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])
@pytest.mark.parametrize("trusted", ["127.0.0.1", "198.51.100.7"])
def test_so_it_is_for_websockets(ws: str, trusted: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": str(URL(scope=scope))})
        await send({"type": "websocket.close", "code": 1000})

    believed = {name: value for name, value in ALL.items() if name != "X-Forwarded-For"}
    headers = {**believed, "X-Forwarded-For": "203.0.113.9:52011"}
    options = {"http": "h11", "ws": ws, "interface": "asgi3", "forwarded_allow_ips": trusted}
    with (
        serving(ForwardedHeaders(app, trusted, EACH), **options) as port,
        connect_websocket(f"ws://127.0.0.1:{port}/live", additional_headers=headers) as client,
    ):
        url = client.recv()
    assert url == ("wss://shop.example:8443/app/live" if trusted == "127.0.0.1" else f"ws://127.0.0.1:{port}/live")


async def test_headers_with_underscores_do_not_pass_for_those_with_dashes() -> None:
    fake = {name.replace("-", "_"): value for name, value in ALL.items()}
    said = await both(make_world(proxy_fix=True), fake)
    assert said["url"] == "http://inside:8000/legacy"
    assert said["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", "/.."),
        ("X-Forwarded-Prefix", "/a/../b"),
        ("X-Forwarded-Prefix", "https://evil.example"),
        ("X-Forwarded-Prefix", "/a\tb"),
        ("X-Forwarded-Prefix", "relative"),
        ("X-Forwarded-Prefix", "/"),
        ("X-Forwarded-Prefix", ""),
        ("X-Forwarded-Host", "evil.example/path"),
        ("X-Forwarded-Host", "user@evil.example"),
        ("X-Forwarded-Host", ""),
        ("X-Forwarded-Port", "99999"),
        ("X-Forwarded-Port", "0"),
        ("X-Forwarded-Port", "8o"),
    ],
)
async def test_nonsense_from_a_proxy_is_ignored(name: str, value: str) -> None:
    assert (await both(make_world(), {name: value}))["url"] == "http://inside:8000/legacy"


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"X-Forwarded-Host": "a.example, b.example"}, "http://b.example/legacy"),
        ({"X-Forwarded-Host": "a.example:81"}, "http://a.example:81/legacy"),
        ({"X-Forwarded-Host": "a.example:81", "X-Forwarded-Port": "82"}, "http://a.example:82/legacy"),
        ({"X-Forwarded-Host": "a.example:443", "X-Forwarded-Proto": "https"}, "https://a.example/legacy"),
        ({"X-Forwarded-Host": "[2001:db8::1]:81"}, "http://[2001:db8::1]:81/legacy"),
        ({"X-Forwarded-Port": "81"}, "http://inside:81/legacy"),
        ({"X-Forwarded-Prefix": "/a/b/"}, "http://inside:8000/a/b/legacy"),
    ],
)
async def test_hosts_ports_and_prefixes_in_all_their_forms(headers: dict[str, str], url: str) -> None:
    assert (await both(make_world(), headers))["url"] == url


async def test_what_the_proxy_does_not_control_can_be_left_out() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope.get("root_path"), dict(scope["headers"])[b"host"]))

    headers = [(b"host", b"inside"), (b"x-forwarded-host", b"evil.example"), (b"x-forwarded-prefix", b"/app")]
    scope = {"type": "http", "path": "/", "raw_path": b"/", "headers": headers, "client": ("127.0.0.1", 1)}
    await ForwardedHeaders(app, honours=("prefix",))(scope, None, None)  # type: ignore[arg-type]
    await ForwardedHeaders(app, honours=())({**scope, "type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == [("/app", b"inside"), (None, b"inside")]


ALLOWED = ("shop.example", ".shops.example", "[::1]")


async def answer_for(*headers: tuple[bytes, bytes], path: str = "/", kind: str = "http") -> int | str:
    """The status that a request with these headers gets when only ALLOWED hosts may be called; "passed" if it may."""
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.append("passed")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message.get("status", message.get("code")))

    scope = {"type": kind, "path": path, "method": "GET", "headers": list(headers), "client": ("127.0.0.1", 5)}
    await ForwardedHeaders(app, "127.0.0.1", ("host",), ALLOWED)(scope, receive, send)
    return said[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "host", ["shop.example", "SHOP.example:8000", "shop.example.", "a.shops.example", "b.a.shops.example", "[::1]:80",
             "shops.example"],
)  # fmt: skip
async def test_the_hosts_of_the_site_pass(host: str) -> None:
    assert await answer_for((b"host", host.encode())) == "passed"


@pytest.mark.parametrize(
    "host", ["evil.example", "shop.example.evil.example", "evilshops.example", "shop.example@evil.example", "",
             "shop.example, evil.example", "shop.example:80@evil.example", "shop.example#.evil.example", "127.0.0.1",
             "a.shop.example", "shop.example\\.evil.example", "shop.example/evil", "shop.example:x"],
)  # fmt: skip
async def test_other_hosts_are_turned_away(host: str) -> None:
    assert await answer_for((b"host", host.encode())) == 400
    assert await answer_for((b"host", host.encode()), kind="websocket") == 1008


async def test_two_hosts_or_none_are_turned_away_and_a_forwarded_one_is_looked_at() -> None:
    ours, evil = (b"host", b"shop.example"), (b"host", b"evil.example")
    assert await answer_for(ours, evil) == 400
    assert await answer_for() == 400
    assert await answer_for(ours, (b"x-forwarded-host", b"evil.example")) == 400
    assert await answer_for(evil, (b"x-forwarded-host", b"shop.example")) == "passed"


async def test_health_checks_call_addresses() -> None:
    assert await answer_for((b"host", b"10.0.0.7:8000"), path="/_graft/health") == "passed"


async def test_what_is_remembered_of_proxies_is_what_uvicorn_makes_of_each_request() -> None:
    """On the express way, where one client's words are not another's, and a stranger's none."""
    seen: list[tuple[Any, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["scheme"]))

    uvicorns = ProxyHeadersMiddleware(app, "127.0.0.1,10.0.0.0/8")
    _, apply = forwarded.behind_the_servers(uvicorns)  # type: ignore[arg-type]
    assert apply is not None
    words = [
        [(b"x-forwarded-for", b"203.0.113.9")],
        [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")],
        [(b"x-forwarded-for", b"203.0.113.10, 10.1.1.1"), (b"x-forwarded-proto", b"nonsense")],
        [(b"x-forwarded-for", b"203.0.113.10"), (b"x-forwarded-for", b"10.1.1.1")],
        [(b"x-forwarded-proto", b"https"), (b"cookie", b"a=b")],
        [(b"x-forwarded-for", b"")],
        [(b"x-forwarded-for", b"1, " * 200 + b"203.0.113.9")],
    ]
    for peer in (("127.0.0.1", 5000), ("127.0.0.1", 6000), ("192.0.2.1", 5000), None):
        for headers in words * 2:
            scope = {"type": "http", "client": peer, "scheme": "http", "headers": headers}
            made = dict(scope)
            apply(made)
            await uvicorns(scope, None, None)  # type: ignore[arg-type]
            assert (made["client"], made["scheme"]) == seen[-1]
    assert len(set(seen)) > 4


def test_what_clients_make_up_behind_a_proxy_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarded, "MOST_KNOWN", 10)
    _, apply = forwarded.behind_the_servers(ProxyHeadersMiddleware(None, "127.0.0.1"))  # type: ignore[arg-type]
    assert isinstance(apply, forwarded.AsUvicorn)
    for number in range(100):
        for word in (b"203.0.113.%d" % number, b"x" * 500 + b"%d" % number):
            apply(
                {"type": "http", "client": ("127.0.0.1", 1), "scheme": "http", "headers": [(b"x-forwarded-for", word)]}
            )
    assert 0 < len(apply.known) <= 10
