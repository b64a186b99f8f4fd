"""One suite of user stories, told four ways: Flask alone, all legacy through the gateway, all native, and mixed at
random per request. All four must give the same pages: status, headers that matter, cookies, and body.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from graft.connection.forwarded import ForwardedHeaders
from graft.flaskside.side import LegacySide
from graft.request_record import RequestRecord
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import discover
from graft.routing.table import RouteTable, Row
from graft.settings import Settings
from graft.types import ASGIApp, Receive, Scope, Send, Side

# Flask-Login 0.6.3 on Python 3.12 and newer.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

Story = Callable[["Reader"], None]
Page = tuple[Any, ...]

ALONE = "Flask alone"
LEGACY = "all legacy"
NATIVE = "all native"
MIXED = [f"mixed {seed}" for seed in range(1, 4)]


class Reader:
    """One person with a browser. ``pages`` is all that was shown, without what differs from time to time."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.pages: list[Page] = []
        self.sides: set[str] = set()

    def get(self, path: str, **settings: Any) -> httpx.Response:
        return self.ask("GET", path, **settings)

    def post(self, path: str, data: dict[str, str] | None = None, **settings: Any) -> httpx.Response:
        """With the CSRF token of the sign-in page, as the form on the page would have it."""
        return self.ask("POST", path, data={"csrf_token": self.token(), **(data or {})}, **settings)

    def token(self) -> str:
        shown = self.client.get("/sign-in")
        self.pages.append(_page(shown))
        return re.search(r'csrf_token value="([^"]+)"', shown.text)[1]  # type: ignore[index]

    def ask(self, method: str, path: str, **settings: Any) -> httpx.Response:
        response = self.client.request(method, path, follow_redirects=False, **settings)
        self.pages.append((method, path, *_page(response)))
        self.sides.add(response.headers.get("x-served-by", ""))
        return response

    def sign_in(self, name: str = "root", password: str = "toor", **more: str) -> httpx.Response:
        return self.post("/sign-in", {"name": name, "password": password, **more})

    def register(self, name: str, password: str = "secret") -> httpx.Response:
        return self.post("/register", {"name": name, "password": password})


def _page(response: httpx.Response) -> Page:
    """What a browser makes use of: of a redirect, the body and its description are never shown."""
    moved = response.is_redirect
    return (
        response.status_code,
        {name: response.headers.get(name) for name in _HEADERS if not (moved and name == "content-type")},
        {name.strip().lower() for name in response.headers.get("vary", "").split(",")},
        sorted(_cookie(cookie) for cookie in response.headers.get_list("set-cookie")),
        "" if moved else _TOKEN.sub("<token>", response.text),
    )


def _cookie(cookie: str) -> str:
    """Name and attributes; the value and the time are other ones at each request."""
    cookie = re.sub(r"^([^=]+)=(;?)", r"\1=\2", cookie)
    value = "deleted" if re.match(r"[^=]+=;", cookie) else "set"
    return re.sub(r"^([^=]+)=[^;]*", rf"\1={value}", re.sub(r"Expires=[^;]*GMT", "Expires", cookie))


_HEADERS = ("content-type", "location", "allow", "content-security-policy", "x-theme", "cache-control")
_TOKEN = re.compile(r"I[A-Za-z0-9_-]{40,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Either:
    """A switched route whose side is chosen anew for each request."""

    def __init__(self, native: ASGIApp, legacy: ASGIApp, is_native: Callable[[], bool]) -> None:
        self.native = native
        self.legacy = legacy
        self.is_native = is_native

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_native():
            await self.native(scope, receive, send)
        else:
            RequestRecord.of(scope).side = Side.LEGACY
            await self.legacy(scope, receive, send)


class WithState:
    def __init__(self, app: ASGIApp, legacy: Any) -> None:
        self.app = app
        self.legacy = legacy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["legacy"] = self.legacy
        await self.app(scope, receive, send)


def gateway(side: LegacySide, is_native: Callable[[], bool]) -> Starlette:
    table = RouteTable(discover("tests.contract.library_native"), side.rules)

    def app_of(row: Row, native: ASGIApp) -> ASGIApp:
        assert row.switched, f"{row.key} has no twin"
        return Either(side.around(native, *row.rules, checks=True), side.mount, is_native)

    return Starlette(
        routes=[*table.routes(app_of, side.around), Mount("/", side.mount)],
        middleware=[
            Middleware(ForwardedHeaders),
            Middleware(WithState, legacy=side.context),
            Middleware(FrontDoor, legacy=side.mount, legacy_has=side.has_path),
        ],
        exception_handlers=side.error_handlers,
    )


@contextmanager
def reader(way: str, folder: Path) -> Iterator[Reader]:
    database = f"sqlite:///{folder}/{way.replace(' ', '-')}.sqlite"
    side = LegacySide(Settings.load(legacy=f"tests.contract.library_legacy:create_app({database!r})"))
    assert side.app is not None
    seed = random.Random(way)
    is_native = {LEGACY: lambda: False, NATIVE: lambda: True}.get(way, lambda: seed.random() < 0.5)
    if way == ALONE:
        client = httpx.Client(transport=httpx.WSGITransport(side.app), base_url="http://testserver")
    else:
        client = TestClient(gateway(side, is_native), raise_server_exceptions=False)
    try:
        with client:
            yield Reader(client)
    finally:
        assert side.mount.close(10)
        with side.app.app_context():
            from tests.contract.library_legacy import db

            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
            db.engine.dispose()


def bookmark_here_see_it_there(reader: Reader) -> None:
    reader.get("/")
    reader.register("Ada")
    reader.sign_in("Ada", "secret")
    reader.get("/")
    reader.post("/bookmarks/1", {"note": "the <best>"})
    reader.get("/bookmarks/")
    reader.get("/books/1")
    reader.get("/api/books/1")
    reader.post("/bookmarks/3", {"note": "later"})
    reader.get("/bookmarks/")
    reader.post("/bookmarks/1/remove")
    assert "the &lt;best&gt;" not in reader.get("/bookmarks/").text
    reader.get("/books/1")


def sign_in_here_sign_out_there(reader: Reader) -> None:
    for _ in range(4):
        assert reader.get("/bookmarks/").status_code == 302
        reader.get("/")
        reader.sign_in()
        assert reader.get("/bookmarks/").status_code == 200
        reader.post("/sign-out")
        assert "Bye." in reader.get("/").text


def be_sent_to_the_sign_in_page_and_back(reader: Reader) -> None:
    refused = reader.get("/bookmarks/?page=2")
    assert "next=" in refused.headers["location"]
    token = re.search(r'csrf_token value="([^"]+)"', reader.get(refused.headers["location"]).text)[1]  # type: ignore[index]
    form = {"name": "root", "password": "toor", "csrf_token": token}
    back = reader.ask("POST", refused.headers["location"], data=form)
    assert back.headers["location"] == "/bookmarks/?page=2"
    reader.get(back.headers["location"])
    evil = reader.ask("POST", "/sign-in?next=//evil.example", data={**form, "csrf_token": reader.token()})
    assert evil.headers["location"] == "/"


def be_remembered(reader: Reader) -> None:
    reader.sign_in(remember="on")
    reader.client.cookies.delete("session")
    assert reader.get("/bookmarks/").status_code == 200
    reader.get("/api/session")
    reader.get("/")
    reader.post("/sign-out")
    assert reader.get("/bookmarks/").status_code == 302


def mistype_the_password(reader: Reader) -> None:
    assert reader.sign_in(password="wrong").status_code == 401
    assert "Wrong name" not in reader.get("/").text
    reader.sign_in(name="nobody")
    assert reader.sign_in().status_code == 302


def fill_in_the_form_wrongly(reader: Reader) -> None:
    reader.get("/register")
    reader.register("A", "x")
    reader.register("root")
    reader.register("Grace")
    assert "You may sign in now." in reader.get("/").text


def forget_the_csrf_token(reader: Reader) -> None:
    reader.sign_in()
    for data in ({}, {"csrf_token": "forged"}, {"csrf_token": reader.token()[:-3] + "xyz"}):
        assert reader.ask("POST", "/bookmarks/1", data=data).status_code == 400
    reader.client.cookies.delete("session")
    assert reader.ask("POST", "/api/theme", json={"theme": "dark"}).json()["code"] == 400
    token = {"X-CSRFToken": reader.token()}
    reader.ask("POST", "/api/theme", json={"theme": "dark"}, headers=token)
    assert reader.get("/").headers["x-theme"] == "dark"


def choose_a_theme(reader: Reader) -> None:
    for name in ("dark", "light", "blue", "dark"):
        reader.post(f"/theme/{name}")
        reader.get("/")
    assert reader.get("/api/session").json()["history"] == ["dark", "light", "blue", "dark"]


def come_as_a_robot(reader: Reader) -> None:
    for path in ("/", "/books/1", "/api/books/1", "/nowhere", "/de/about"):
        assert reader.get(path, headers={"user-agent": "Robot/1"}).status_code == 403


def try_the_admins_corner(reader: Reader) -> None:
    assert reader.get("/admin/users").status_code == 403
    reader.register("Eve")
    reader.sign_in("Eve", "secret")
    assert reader.get("/admin/users").status_code == 403
    reader.post("/sign-out")
    reader.sign_in()
    assert reader.get("/admin/users").status_code == 200


def run_into_errors(reader: Reader) -> None:
    reader.sign_in()
    for path in ("/nowhere", "/books/99", "/books/x", "/api/books/99", "/api/nowhere", "/bookmarks/1", "/de/nowhere"):
        assert reader.get(path).status_code in (404, 405)
    assert reader.post("/bookmarks/2").status_code == 409
    assert reader.post("/bookmarks/99").status_code == 404
    for path in ("/en/crash", "/api/crash"):
        shown = reader.get(path)
        assert shown.status_code == 500
        assert "secret" not in shown.text
    assert reader.get("/api/session").json()["crashed"] is True
    reader.post("/bookmarks/1")
    reader.post("/sign-out")
    reader.register("Mallory")
    reader.sign_in("Mallory", "secret")
    assert reader.post("/bookmarks/1/remove").status_code == 403


def read_in_two_languages(reader: Reader) -> None:
    assert "de " in reader.get("/de/about").text
    assert "en " in reader.get("/en/about").text


def come_with_a_forged_cookie(reader: Reader) -> None:
    reader.client.cookies.set("session", "eyJfdXNlcl9pZCI6IjEifQ.aaaaaa.forged")
    reader.client.cookies.set("remember_token", "1|forged")
    reader.get("/")
    assert reader.get("/bookmarks/").status_code == 302


STORIES: list[Story] = [
    bookmark_here_see_it_there,
    sign_in_here_sign_out_there,
    be_sent_to_the_sign_in_page_and_back,
    be_remembered,
    mistype_the_password,
    fill_in_the_form_wrongly,
    forget_the_csrf_token,
    choose_a_theme,
    come_as_a_robot,
    try_the_admins_corner,
    run_into_errors,
    read_in_two_languages,
    come_with_a_forged_cookie,
]


@pytest.fixture(params=STORIES, ids=lambda story: story.__name__)
def story(request: pytest.FixtureRequest) -> Story:
    told: Story = request.param
    return told


def test_a_story_is_the_same_whoever_answers(story: Story, tmp_path: Path) -> None:
    with reader(ALONE, tmp_path) as alone:
        story(alone)
    assert len(alone.pages) > 1
    for way in (LEGACY, NATIVE, *MIXED):
        with reader(way, tmp_path) as other:
            story(other)
        for found, expected in zip(other.pages, alone.pages, strict=True):
            assert found == expected, way


def test_the_four_ways_are_four(tmp_path: Path) -> None:
    sides = {}
    for way in (ALONE, LEGACY, NATIVE, MIXED[0]):
        with reader(way, tmp_path) as asked:
            for _ in range(20):
                asked.get("/books/1")
        sides[way] = asked.sides
    assert sides == {ALONE: {""}, LEGACY: {"legacy"}, NATIVE: {"native"}, MIXED[0]: {"legacy", "native"}}
