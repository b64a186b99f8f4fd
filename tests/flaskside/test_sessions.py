from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import flask
import httpx2 as httpx
import pytest
import redis
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionInterface, SessionMixin
from flask_session import Session as FlaskSession
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient

from graft.flaskside import sessions
from graft.request_record import KEY, SESSION_NOT_SAVED, RequestRecord
from graft.threads.pool import PoolFull
from graft.types import Receive, Scope, Send, Side
from tests.flaskside.native import World
from tests.parts import redis as redis_part


def make_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="now", **config)

    @app.get("/legacy")
    def show() -> dict[str, Any]:
        return dict(flask.session)

    @app.post("/legacy")
    def put() -> dict[str, Any]:
        flask.session.update(flask.request.get_json())
        return dict(flask.session)

    @app.post("/legacy/clear")
    def clear() -> str:
        flask.session.clear()
        return "cleared"

    return app


def make_world(app: Flask) -> World:
    world = World(app)

    @world.native("/native")
    async def show(request: Request) -> Response:
        return JSONResponse(dict(request.session))

    @world.native("/native", ("POST",))
    async def put(request: Request) -> Response:
        request.session.update(await request.json())
        return JSONResponse(dict(request.session))

    @world.native("/native/clear", ("POST",))
    async def clear(request: Request) -> Response:
        request.session.clear()
        return PlainTextResponse("cleared")

    @world.native("/untouched")
    async def untouched(request: Request) -> Response:
        return PlainTextResponse("hello")

    return world


def cookie_of(response: httpx.Response) -> set[str]:
    """The names of the session cookie's attributes with their values; the cookie's own is left out: it holds a time."""
    name, *attributes = response.headers["set-cookie"].split("; ")
    assert name.startswith("session=")
    return {attribute if not attribute.startswith("Expires=") else "Expires" for attribute in attributes}


@pytest.mark.parametrize(("writer", "reader"), [("/native", "/legacy"), ("/legacy", "/native")])
async def test_what_one_side_writes_the_other_reads(writer: str, reader: str) -> None:
    async with make_world(make_app()).client() as client:
        await client.post(writer, json={"user": "Ada", "nested": {"n": [1, 2]}})
        assert (await client.get(reader)).json() == {"user": "Ada", "nested": {"n": [1, 2]}}


@pytest.mark.parametrize(("clearer", "reader"), [("/native", "/legacy"), ("/legacy", "/native")])
async def test_clearing_on_one_side_deletes_the_cookie_for_both(clearer: str, reader: str) -> None:
    async with make_world(make_app()).client() as client:
        await client.post("/native", json={"user": "Ada"})
        await client.post(f"{clearer}/clear")
        assert "session" not in client.cookies
        assert (await client.get(reader)).json() == {}


async def test_an_untouched_session_is_not_opened_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    async with make_world(app).client() as client:
        await client.post("/native", json={"user": "Ada"})
        monkeypatch.setattr(SecureCookieSessionInterface, "open_session", None)
        response = await client.get("/untouched")
    assert response.text == "hello"
    assert not {"vary", "set-cookie"} & set(response.headers)


async def test_reading_adds_vary_cookie_once_beside_what_was_there() -> None:
    world = make_world(make_app())

    @world.native("/varies")
    async def varies(request: Request) -> Response:
        request.session.get("user")
        return PlainTextResponse("", headers={"Vary": "Accept-Encoding, cookie"})

    @world.native("/varies-on-language")
    async def varies_on_language(request: Request) -> Response:
        request.session.get("user")
        return PlainTextResponse("", headers={"Vary": "Accept-Language"})

    async with world.client() as client:
        response = await client.get("/varies")
        assert response.headers.get_list("vary", split_commas=True) == ["Accept-Encoding", "cookie"]
        response = await client.get("/varies-on-language")
        assert response.headers.get_list("vary", split_commas=True) == ["Accept-Language", "Cookie"]
        assert "set-cookie" not in response.headers


async def test_a_nested_change_is_kept_where_it_is_marked_as_with_flask() -> None:
    world = make_world(make_app())

    @world.native("/nested", ("POST",))
    async def nested(request: Request) -> Response:
        request.session["list"].append(len(request.session["list"]))
        request.session.modified = "mark" in request.query_params  # type: ignore[attr-defined]
        return PlainTextResponse()

    async with world.client() as client:
        await client.post("/native", json={"list": []})
        await client.post("/nested")
        await client.post("/nested?mark")
        assert (await client.get("/legacy")).json() == {"list": [0]}


@pytest.mark.skipif("SECRET_KEY_FALLBACKS" not in Flask.default_config, reason="Flask 3.0 has no old keys")
async def test_a_cookie_signed_with_an_old_key_is_read_and_signed_anew() -> None:
    async with make_world(make_app()).client() as old:
        await old.post("/legacy", json={"user": "Ada"})
        cookie = old.cookies["session"]
    rotated = make_app(SECRET_KEY_FALLBACKS=["now"])
    rotated.secret_key = "later"
    async with make_world(rotated).client(cookies={"session": cookie}) as client:
        assert (await client.get("/native")).json() == {"user": "Ada"}
        await client.post("/native", json={"seen": 1})
        renewed = client.cookies.get("session", domain="testserver.local") or client.cookies.get("session", domain="")
    rotated.config["SECRET_KEY_FALLBACKS"] = []
    async with make_world(rotated).client(cookies={"session": renewed or ""}) as client:
        assert (await client.get("/native")).json() == (await client.get("/legacy")).json()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"SESSION_COOKIE_PATH": "/native"},
        {"SESSION_COOKIE_HTTPONLY": False, "SESSION_COOKIE_SAMESITE": "Strict"},
        {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PARTITIONED": True, "SESSION_COOKIE_SAMESITE": "None"},
        {"SESSION_COOKIE_DOMAIN": "example.org"},
        {"APPLICATION_ROOT": "/app"},
    ],
    ids=lambda config: " ".join(config) or "defaults",
)
async def test_the_cookie_has_the_attributes_that_flask_gives_it(config: dict[str, Any]) -> None:
    async with make_world(make_app(**config)).client() as client:
        ours = cookie_of(await client.post("/native", json={"user": "Ada"}))
        theirs = cookie_of(await client.post("/legacy", json={"user": "Ada"}))
    assert ours == theirs


async def test_a_permanent_session_expires_and_is_refreshed_as_flasks_is() -> None:
    app = make_app(PERMANENT_SESSION_LIFETIME=timedelta(minutes=5))
    world = make_world(app)

    @world.native("/keep", ("POST",))
    async def keep(request: Request) -> Response:
        request.session.permanent = True  # type: ignore[attr-defined]
        return PlainTextResponse()

    async with world.client() as client:
        assert "Expires" in cookie_of(await client.post("/keep"))
        assert "Expires" in cookie_of(await client.get("/native"))
        app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        assert "set-cookie" not in (await client.get("/native")).headers


async def test_a_forged_cookie_is_an_empty_session() -> None:
    async with make_world(make_app()).client(cookies={"session": "eyJ1c2VyIjoiQWRhIn0.aaaaaa.forged"}) as client:
        assert (await client.get("/native")).json() == {}


async def test_without_a_secret_key_reading_works_and_writing_explains() -> None:
    app = make_app()
    app.secret_key = None
    world = World(app)

    @world.native("/read")
    async def read(request: Request) -> Response:
        try:
            request.session["user"] = "Ada"
        except RuntimeError as error:
            return JSONResponse({"found": dict(request.session), "said": str(error)})
        return PlainTextResponse("written")

    async with world.client() as client:
        told = (await client.get("/read")).json()
    assert told["found"] == {}
    assert "secret" in told["said"]


async def test_the_session_is_of_the_apps_own_class_and_has_its_methods() -> None:
    class Basket(SecureCookieSession):
        def add(self, thing: str) -> None:
            self["things"] = [*self.get("things", ()), thing]

    app = make_app()
    app.session_interface.session_class = Basket  # type: ignore[attr-defined]
    world = make_world(app)

    @world.native("/add", ("POST",))
    async def add(request: Request) -> Response:
        request.scope["session"].add("pear")
        return JSONResponse(isinstance(request.session, Basket))

    async with world.client() as client:
        assert (await client.post("/add")).json() is True
        assert (await client.get("/legacy")).json() == {"things": ["pear"]}


async def test_starlettes_conventions_for_request_session_hold() -> None:
    world = make_world(make_app())
    seen: list[Any] = []

    @world.native("/conventions")
    async def conventions(request: Request) -> Response:
        assert "session" in request
        assert "session" in request.scope
        assert isinstance(request.session, dict)
        assert request.session is request.session
        assert request["session"] is request.scope["session"]
        assert not request.session
        assert len(request.session) == 0
        assert request.session.get("user") is None
        assert request.session.setdefault("user", "Ada") == "Ada"
        assert "user" in request.session
        assert list(request.session) == ["user"]
        assert dict(request.session) == {"user": "Ada"} == {**request.session}
        assert request.session == {"user": "Ada"}
        request.session.update(cart=[1])
        return PlainTextResponse()

    @world.native("/more")
    async def more(request: Request) -> Response:
        seen.append(json.dumps(request.session))
        assert request.session.pop("cart") == [1]
        assert request.session.pop("cart", None) is None
        with pytest.raises(KeyError):
            request.session["cart"]
        del request.session["user"]
        assert request.session.copy() == {}
        return JSONResponse({"session": request.session})

    @world.native("/assigned")
    async def assigned(request: Request) -> Response:
        request.scope["session"] = {"user": "Grace"}
        return PlainTextResponse()

    async with world.client() as client:
        assert (await client.get("/conventions")).status_code == 200
        assert (await client.get("/more")).json() == {"session": {}}
        assert "session" not in client.cookies
        await client.get("/assigned")
        assert (await client.get("/legacy")).json() == {"user": "Grace"}
    assert json.loads(seen[0]) == {"user": "Ada", "cart": [1]}


@pytest.mark.parametrize(
    "touch",
    [
        lambda session: session["user"],
        lambda session: list(session.items()),
        len,
        lambda session: bool(session) or None,
        repr,
        lambda session: session | {},
        lambda session: session == {"user": "Ada"} or None,
        lambda session: json.dumps(session.copy()),
        lambda session: session.permanent is False or None,
        lambda session: "user" in session or None,
        lambda session: [*reversed(session)],
    ],
)
def test_any_touch_opens_a_session_taken_from_the_scope(touch: Any) -> None:
    app = make_app()
    cookie = app.session_interface.get_signing_serializer(app).dumps({"user": "Ada"})  # type: ignore[attr-defined]
    found: list[Any] = []

    async def native(scope: Scope, *_: Any) -> None:
        assert sessions.opened_session(scope) is None
        found.append(touch(scope["session"]))
        assert sessions.opened_session(scope) == {"user": "Ada"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "http_version": "1.1",
        "headers": [(b"cookie", f"session={cookie}".encode())],
    }
    asyncio.run(sessions.wrap(native, app, None)(scope, None, None))  # type: ignore[arg-type]
    assert found[0]


async def test_a_session_middleware_further_in_has_a_session_of_its_own() -> None:
    from starlette.middleware.sessions import SessionMiddleware

    world = make_world(make_app())

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["theirs"] = 1
        await PlainTextResponse()(scope, receive, send)

    apart = SessionMiddleware(inner, "other key", session_cookie="other")

    @world.native("/apart")
    async def other(request: Request) -> Response:
        return apart  # type: ignore[return-value]

    async with world.client() as client:
        await client.post("/native", json={"user": "Ada"})
        assert list((await client.get("/apart")).cookies) == ["other"]
        assert (await client.get("/legacy")).json() == {"user": "Ada"}


async def test_a_response_object_that_is_used_again_does_not_carry_the_first_users_cookie() -> None:
    world = make_world(make_app())
    constant = PlainTextResponse("same")

    @world.native("/constant")
    async def shared(request: Request) -> Response:
        if "user" in request.query_params:
            request.session["user"] = request.query_params["user"]
        return constant

    async with world.client() as client:
        assert "set-cookie" in (await client.get("/constant?user=Ada")).headers
    async with world.client() as other:
        assert "set-cookie" not in (await other.get("/constant")).headers


async def test_a_session_changed_before_a_stream_starts_is_saved() -> None:
    world = make_world(make_app())

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        request.session["user"] = "Ada"
        return StreamingResponse(iter(["a", "b"]))

    async with world.client() as client:
        assert (await client.get("/stream")).text == "ab"
        assert (await client.get("/legacy")).json() == {"user": "Ada"}


async def test_concurrent_requests_on_both_sides_each_get_a_whole_session() -> None:
    async with make_world(make_app()).client() as client:
        await client.post("/native", json={"user": "Ada"})
        cookie = client.cookies["session"]

        async def one(number: int) -> httpx.Response:
            side = "/native" if number % 2 else "/legacy"
            client.cookies.clear()
            return await client.post(side, json={f"k{number}": number}, headers={"cookie": f"session={cookie}"})

        responses = await asyncio.gather(*(one(number) for number in range(40)))
        for number, response in enumerate(responses):
            assert response.json() == {"user": "Ada", f"k{number}": number}


def test_a_websocket_reads_the_session() -> None:
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    world = make_world(make_app())

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(dict(websocket.session))
        await websocket.close()

    route = WebSocketRoute("/talk", talk)
    route.app = sessions.wrap(route.app, world.app, world.threads)
    world.routes.append(route)
    with TestClient(world.asgi()) as client:
        client.post("/legacy", json={"user": "Ada"})
        with client.websocket_connect("/talk") as websocket:
            assert websocket.receive_json() == {"user": "Ada"}


async def test_an_interface_with_methods_of_its_own_runs_in_a_thread_under_the_apps_context() -> None:
    used: list[tuple[str, str]] = []

    class NoCookiesForApis(SecureCookieSessionInterface):
        """As Flask-Login's documentation shows it."""

        def open_session(self, app: Flask, request: flask.Request) -> SecureCookieSession | None:
            used.append((threading.current_thread().name, flask.request.path))
            return super().open_session(app, request)

        def save_session(self, app: Flask, session: SessionMixin, response: flask.Response) -> None:
            flask.g.get("login_via_header")
            if not flask.request.path.startswith("/api"):
                super().save_session(app, session, response)

    app = make_app()
    app.session_interface = NoCookiesForApis()
    world = make_world(app)

    @world.native("/api/touch")
    async def touch(request: Request) -> Response:
        request.session["user"] = "Ada"
        return PlainTextResponse()

    async with world.client() as client:
        await client.get("/api/touch")
        assert "session" not in client.cookies
        await client.post("/native", json={"user": "Ada"})
        assert (await client.get("/legacy")).json() == {"user": "Ada"}
    assert used[0][0].startswith("legacy")
    assert used[0][1] == "/api/touch"


async def test_an_untouched_permanent_session_slides_as_on_the_legacy_side() -> None:
    app = make_app(PERMANENT_SESSION_LIFETIME=timedelta(minutes=5))
    world = make_world(app)
    app.add_url_rule("/legacy/untouched", "untouched", lambda: "hello")

    async with world.client() as client:
        await client.post("/legacy", json={"user": "Ada", "_permanent": True})
        cookie = client.cookies["session"]
        expected = await client.get("/legacy/untouched")
        found = await client.get("/untouched")
        assert cookie_of(found) == cookie_of(expected)
        assert found.headers["vary"] == expected.headers["vary"] == "Cookie"
        app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        assert "set-cookie" not in (await client.get("/untouched")).headers
        app.config["SESSION_REFRESH_EACH_REQUEST"] = True
        await client.post("/legacy", json={"_permanent": False})
        assert "set-cookie" not in (await client.get("/untouched")).headers
        client.cookies.clear()
        assert "set-cookie" not in (await client.get("/untouched", headers={"cookie": f"other={cookie}"})).headers


async def test_a_large_and_a_forged_permanent_session_are_refreshed_as_by_flask() -> None:
    app = make_app()
    world = make_world(app)
    async with world.client() as client:
        await client.post("/legacy", json={"_permanent": True, "basket": "a shoe, " * 200})  # Flask compresses this one
        assert client.cookies["session"].startswith(".")
        assert "Expires" in cookie_of(await client.get("/untouched"))
        signed, _, signature = client.cookies["session"].rpartition(".")
        forged = f"{signed}.{signature[::-1]}"
        assert "set-cookie" not in (await client.get("/untouched", headers={"cookie": f"session={forged}"})).headers


async def test_a_session_class_that_is_always_permanent_slides() -> None:
    class Always(SecureCookieSession):
        permanent = True

    class Interface(SecureCookieSessionInterface):
        session_class = Always

    app = make_app()
    app.session_interface = Interface()
    async with make_world(app).client() as client:
        await client.post("/legacy", json={"user": "Ada"})
        assert "Expires" in cookie_of(await client.get("/untouched"))


async def test_an_untouched_session_that_is_not_permanent_is_still_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(make_app())
    opened: list[str] = []
    original = SecureCookieSession.__init__

    async with world.client() as client:
        await client.post("/legacy", json={"user": "Ada"})
        monkeypatch.setattr(
            SecureCookieSession, "__init__", lambda self, *args: opened.append("opened") or original(self, *args)
        )
        assert "set-cookie" not in (await client.get("/untouched")).headers
    assert opened == []


async def test_the_apps_own_json_provider_writes_and_reads_the_cookie() -> None:
    class Wrapped(DefaultJSONProvider):
        def dumps(self, obj: Any, **keywords: Any) -> str:
            return super().dumps({"from the provider": obj}, **keywords)

        def loads(self, text: str | bytes, **keywords: Any) -> Any:
            return super().loads(text, **keywords)["from the provider"]

    app = make_app()
    app.json = Wrapped(app)
    async with make_world(app).client() as client:
        await client.post("/native", json={"user": "Ada"})
        assert (await client.get("/legacy")).json()["from the provider"] == {"user": "Ada"}
        await client.post("/legacy", json={"from the provider": {"user": "Bob"}})
        assert (await client.get("/native")).json() == {"user": "Bob"}


@pytest.mark.parametrize("hooked", [True, False])
async def test_a_request_that_has_written_is_not_refused_because_its_session_finds_no_thread(
    hooked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pool refuses whatever comes after the write."""

    class Stored(SessionInterface):
        rows: ClassVar[dict[str, Any]] = {}

        def open_session(self, app: Flask, request: flask.Request) -> SessionMixin:
            return SecureCookieSession(self.rows)

        def save_session(self, app: Flask, session: SessionMixin, response: flask.Response) -> None:
            self.rows.update(session)

    app = make_app()
    app.session_interface = Stored()
    if hooked:
        app.after_request(lambda response: response)
    world = World(app)
    orders: list[str] = []

    async def refuse(*_: Any) -> None:
        raise PoolFull

    @world.native("/order", ("POST",))
    async def order(request: Request) -> Response:
        orders.append("ordered")
        request.session["ordered"] = True
        monkeypatch.setattr(world.pool, "run", refuse)
        return PlainTextResponse("ordered")

    async with world.client() as client:
        assert (await client.post("/order")).status_code == 200
    assert orders == ["ordered"]
    assert Stored.rows == {"ordered": True}


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_part.running(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def stored(redis_port: int) -> Iterator[Flask]:
    connection = redis.Redis(port=redis_port)
    connection.flushall()
    app = make_app(SESSION_TYPE="redis", SESSION_REDIS=connection)
    FlaskSession(app)
    yield app
    connection.close()


async def test_flask_session_on_redis_is_one_session_for_both_sides(stored: Flask) -> None:
    async with make_world(stored).client() as client:
        response = await client.post("/native", json={"user": "Ada"})
        assert "Path=/" in cookie_of(response)
        assert "Cookie" in response.headers["vary"]
        assert (await client.get("/legacy")).json()["user"] == "Ada"
        await client.post("/legacy", json={"cart": [1]})
        both = (await client.get("/native")).json()
        assert (both["user"], both["cart"]) == ("Ada", [1])
        assert len(stored.config["SESSION_REDIS"].keys()) == 1
        await client.post("/native/clear")
        assert "user" not in (await client.get("/legacy")).json()


@pytest.mark.parametrize("path", ["/native", "/legacy"])
async def test_a_mirrored_request_stores_nothing_in_redis(stored: Flask, path: str) -> None:
    world = make_world(stored)
    inner = world.asgi()
    mirrored = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, KEY: RequestRecord.mirrored(Side.NATIVE)} if mirrored else scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        await client.post(path, json={"user": "Ada"})
        users = dict(client.cookies)
        mirrored = True
        response = await client.post(path, json={"user": "Grace"})
        assert response.json()["user"] == "Grace"
        assert SESSION_NOT_SAVED in response.headers["set-cookie"]
        assert "Cookie" in response.headers["vary"]
        mirrored = False
        client.cookies.update(users)  # nobody gets a mirrored answer
        assert (await client.get(path)).json()["user"] == "Ada"


async def test_a_slow_redis_does_not_hold_up_the_loop(stored: Flask) -> None:
    world = make_world(stored)
    stored.config["SESSION_REDIS"].client_pause(400)
    async with world.client() as client:
        request = asyncio.create_task(client.post("/native", json={"user": "Ada"}))
        turns = 0
        while not request.done():
            await asyncio.sleep(0.01)
            turns += 1
    assert (await request).json()["user"] == "Ada"
    assert turns > 10


async def test_a_redis_that_is_down_gives_the_apps_error_page_not_a_broken_connection(stored: Flask) -> None:
    from tests.parts import free_port

    stored.session_interface.client = redis.Redis(port=free_port())  # type: ignore[attr-defined]
    async with make_world(stored).client() as client:
        response = await client.post("/native", json={"user": "Ada"})
    assert response.status_code == 500
    assert "Traceback" not in response.text
