"""Fixtures for the tests of native routes: a pytest plugin, there as soon as Graft is installed.

    def test_stock(native, assert_parity):
        assert native("/api/stock/3").json()["id"] == 3
        assert_parity("GET", "/api/stock/3")

One whole gateway runs in the test's process, over the app that the environment or ``.env`` names, without a server:
with a data folder, switches and an embedded search engine of the test's own. ``gateway`` asks it as users do,
``native`` and ``legacy`` one side of every route that both have. All three are called with a path, or used as an
httpx client (``native.post(path, json=...)``). ``elasticsearch`` is the engine that native routes search in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from graft.types import ASGIApp, Receive, Scope, Send, Side

__all__ = [
    "Client",
    "Elasticsearch",
    "Parity",
    "Site",
    "User",
    "as_user",
    "assert_parity",
    "elasticsearch",
    "gateway",
    "legacy",
    "native",
]

Parity = Callable[..., Any]
Login = Callable[..., "User"]


class Site:
    """The gateway of one test and the clients of it, which share one lifespan."""

    def __init__(self, app: Starlette, http: Any) -> None:
        self.app = app
        self._http = http

    @property
    def elasticsearch(self) -> Elasticsearch:
        return Elasticsearch(self._http.app_state["elasticsearch"], self._http.portal.call)

    def client(self, side: Side | None = None, cookies: Any = None) -> Client:
        return Client(self, side, cookies)

    def send(self, side: Side | None, cookies: Any, method: str, path: str, options: dict[str, Any]) -> tuple[Any, Any]:
        """The response, and the cookies that the client has then."""
        self._http.app.side = side
        self._http.cookies = cookies
        return self._http.request(method, path, **options), self._http.cookies


class Client:
    """Asks one side, or with ``side=None`` the one that the switches say. Keeps the cookies that it gets.

    Redirects are not followed. What the app raises and nothing handles is a 500, as for users.
    """

    def __init__(self, site: Site, side: Side | None, cookies: Any = None) -> None:
        self.cookies = cookies
        self._site = site
        self._side = side

    def __call__(self, path: str, **options: Any) -> Any:
        return self.get(path, **options)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """The response, with ``served_by``: ``native``, ``legacy`` or ``legacy; fallback``.

        Fails the test where the native side was asked and the legacy one had to answer for it.
        """
        answer, self.cookies = self._site.send(self._side, self.cookies, method, path, options)
        answer.served_by = answer.headers.get("x-served-by", "native")
        if self._side == "native" and answer.served_by != "native":
            what = "failed, and the legacy side answered" if "fallback" in answer.served_by else "has no such route"
            pytest.fail(f"{method} {path}: the native side {what}. The log has more.", pytrace=False)
        return answer

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Any) -> Any:
        return self.request("HEAD", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Any:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self.request("DELETE", path, **options)


class User:
    """The three clients of somebody who has logged in."""

    def __init__(self, site: Site, cookies: Any) -> None:
        from graft.types import Side

        self.cookies = cookies
        self.gateway = site.client(None, cookies)
        self.native = site.client(Side.NATIVE, cookies)
        self.legacy = site.client(Side.LEGACY, cookies)


class Elasticsearch:
    """The client that native routes have, an ``AsyncElasticsearch``, with the same methods and nothing to await."""

    def __init__(self, client: Any, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._client = client
        self._call = call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):  # a group of methods, as in elasticsearch.indices.create
            return Elasticsearch(found, self._call)

        def method(*args: Any, **options: Any) -> Any:
            return self._call(partial(found, *args, **options))

        return method


@pytest.fixture
def _graft_site(tmp_path: Path) -> Iterator[Site]:
    """Made once a test, for all fixtures that ask for it."""
    pytest.importorskip("httpx2", reason="pip install httpx2")
    from starlette.testclient import TestClient

    import graft
    from graft.settings import Settings
    from graft.verification.sides import sides_by_scope, unmirrored_switches

    data = tmp_path / "graft"
    data.mkdir()
    switches = data / "switches.toml"
    own = Settings.load().switches  # also of a fleet: a test needs no cluster
    text = own.read_text(encoding="utf-8") if own.is_file() else ""
    switches.write_text(unmirrored_switches(text), encoding="utf-8")
    app = graft.gateway(serve=False, data=data, switches=switches, elasticsearch_url=(), admin_token="of-the-test")
    with (
        sides_by_scope(),
        TestClient(_Chosen(app), raise_server_exceptions=False, follow_redirects=False) as http,
    ):
        yield Site(app, http)


@pytest.fixture
def gateway(_graft_site: Site) -> Client:
    """The gateway as users meet it: a switched route without an entry in the project's switches.toml is dark."""
    return _graft_site.client()


@pytest.fixture
def native(_graft_site: Site) -> Client:
    """The native side of every route."""
    from graft.types import Side

    return _graft_site.client(Side.NATIVE)


@pytest.fixture
def legacy(_graft_site: Site) -> Client:
    """The Flask app's side of every route that it has."""
    from graft.types import Side

    return _graft_site.client(Side.LEGACY)


@pytest.fixture
def elasticsearch(_graft_site: Site) -> Elasticsearch:
    """The test's own engine, empty at its start: ``elasticsearch.index(index="stock", document={}, refresh=True)``."""
    return _graft_site.elasticsearch


@pytest.fixture
def as_user(_graft_site: Site) -> Login:
    """``as_user("/auth/login", username="ada", password="...")``: log in through the Flask app's own form.

    The form is read first, so hidden fields such as a CSRF token go with it. Gives a ``User`` with ``gateway``,
    ``native`` and ``legacy``; the same one for the same arguments in one test. Fails the test where the login is
    refused.
    """
    users: dict[Any, User] = {}

    def log_in(path: str, **fields: str) -> User:
        from graft.types import Side

        known = (path, *sorted(fields.items()))
        if known not in users:
            client = _graft_site.client(Side.LEGACY)
            hidden = _hidden_fields(client.get(path).text)
            answer = client.post(path, data={**hidden, **fields})
            if answer.status_code >= 400 or not client.cookies:
                pytest.fail(f"POST {path} did not log in: {answer.status_code}, {len(client.cookies)} cookies")
            users[known] = User(_graft_site, client.cookies)
        return users[known]

    return log_in


@pytest.fixture
def assert_parity(_graft_site: Site) -> Parity:
    """``assert_parity(method, path, user=None, ignore=(), **options)``: both sides say the same.

    The legacy side is asked first, with the same options, which are those of an httpx request. Answers are compared as
    the mirror does it, by the route's entry in the project's switches.toml; ``ignore`` has more that may differ, such
    as ``"body.took"``. Gives both answers, the native one first.
    """

    def check(
        method: str, path: str, *, user: User | None = None, ignore: Sequence[str] = (), **options: Any
    ) -> tuple[Any, Any]:
        from graft.types import Side

        cookies = user.cookies if user is not None else None
        theirs = _graft_site.client(Side.LEGACY, cookies).request(method, path, **options)
        ours = _graft_site.client(Side.NATIVE, cookies).request(method, path, **options)
        differences = _compared(_graft_site.app, method, path, ours, theirs, tuple(ignore))
        if differences:
            pytest.fail(_told(f"{method} {path}", differences), pytrace=False)
        return ours, theirs

    return check


class _Chosen:
    """``app``, with the side that a client has chosen in the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self.side: Side | None = None
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from graft.verification.sides import SIDE

        if self.side is not None:
            scope[SIDE] = self.side
        await self._app(scope, receive, send)


class _HiddenFields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        field = dict(attrs)
        if tag == "input" and field.get("type") == "hidden" and (name := field.get("name")):
            self.found[name] = field.get("value") or ""


def _hidden_fields(page: str) -> dict[str, str]:
    parser = _HiddenFields()
    parser.feed(page)
    return parser.found


def _compared(app: Starlette, method: str, path: str, ours: Any, theirs: Any, ignore: tuple[str, ...]) -> Any:
    from dataclasses import replace

    from graft.mirroring.compare import Comparison, compare
    from graft.types import Side

    switch = _switch_of(app, method, path)
    switch = replace(switch, ignore=(*switch.ignore, *ignore))
    return compare(_answer(ours, Side.NATIVE), _answer(theirs, Side.LEGACY), Comparison.of(switch))


def _switch_of(app: Starlette, method: str, path: str) -> Any:
    """The switch of the route that answers; the default one where only one side has it."""
    from graft.operations.switch import Switch
    from graft.verification.asking import Request
    from graft.verification.sides import board_of

    board = board_of(app, Request(method, path).scope())
    return board.switch if board is not None else Switch()


def _answer(answer: Any, side: Side) -> Any:
    from graft.mirroring.answers import Answer

    headers = tuple((name.lower(), value) for name, value in answer.headers.raw)
    return Answer(side, answer.status_code, headers, answer.content, 0.0)


def _told(what: str, differences: Sequence[Any]) -> str:
    from graft.verification.junit import lines_of

    places = "1 place" if len(differences) == 1 else f"{len(differences)} places"
    lines = "\n".join(lines_of(differences)).replace("\n", "\n  ")
    return f"{what}: native and legacy differ in {places}\n  {lines}"
