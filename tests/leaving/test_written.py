"""The stand-ins that ``graft leave`` copies, in this process: routing, the Flask app as a library, tasks, lifespans."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, flash, g, request, session
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from werkzeug.exceptions import HTTPException as WerkzeugException

from graft.leaving.written.errors import error_page
from graft.leaving.written.flask_app import FlaskSide, Legacy, cookie_settings
from graft.leaving.written.flask_session import FlaskSessions
from graft.leaving.written.lifespans import running
from graft.leaving.written.request_ids import RequestIds
from graft.leaving.written.routing import SiteRouter
from graft.leaving.written.static import FlaskStatic
from graft.leaving.written.stored_session import StoredSessions
from graft.leaving.written.tasks import Runner, start, step


def flask_app(*, one_loop: bool = False) -> tuple[Flask, FlaskSide]:
    app = Flask("shop")
    app.secret_key = "k"
    app.add_url_rule("/items/<int:id>", "item", str, methods=["GET", "POST"])

    @app.before_request
    def load() -> Any:
        g.thread = threading.get_ident()
        g.order = ["before"]
        if request.headers.get("x-closed"):
            abort(401)
        return ("turned away", 403) if request.args.get("away") else None

    @app.after_request
    def mark(response: Any) -> Any:
        response.headers["x-order"] = ",".join(g.get("order", ()))
        if request.args.get("shout"):
            response.set_data(response.get_data().upper())
        return response

    @app.teardown_request
    def end(error: Any) -> None:
        app.config.setdefault("TOLD", []).append(type(error).__name__)
        app.config.setdefault("ENDED", []).append(g.get("thread") == threading.get_ident())

    @app.errorhandler(404)
    def lost(error: Any) -> Any:
        return f"lost: {error.description}", 404

    @app.errorhandler(KeyError)
    def key(error: Any) -> Any:
        return "a key", 409

    return app, FlaskSide(app, one_loop=one_loop)


@asynccontextmanager
async def nothing(app: Any) -> AsyncIterator[dict[str, object]]:
    yield {"legacy": nothing.legacy}  # type: ignore[attr-defined]


def site(side: FlaskSide, *routes: Any, plain: tuple[str, ...] = (), stored: bool = False) -> TestClient:
    sessions = Middleware(StoredSessions, side) if stored else Middleware(FlaskSessions, cookie_settings(side.app))
    nothing.legacy = Legacy(side)  # type: ignore[attr-defined]
    router = SiteRouter(routes, nothing, around=side.around, plain=plain)
    handled = dict.fromkeys([HTTPException, WerkzeugException, *side.handled(), Exception], side.error_page)
    app = Starlette(middleware=[Middleware(RequestIds), sessions], exception_handlers=handled)
    app.router = router
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


async def item(request: Request) -> Any:
    legacy = request.state.legacy
    if request.query_params.get("fail"):
        raise {"key": KeyError("x"), "404": HTTPException(404, "no item"), "crash": RuntimeError("x")}[
            request.query_params["fail"]
        ]

    def look() -> list[Any]:
        g.order.append("view")
        session["seen"] = session.get("seen", 0) + 1
        return [g.thread == threading.get_ident(), session["seen"], request_form()]

    found = await legacy.run(request, look)
    return JSONResponse([*found, legacy.url_for(request, "item", id=4), len(await request.body())])


def request_form() -> dict[str, str]:
    return request.form.to_dict()


ITEM = Route("/items/{id:int}", item, methods=["GET", "POST"])


def test_a_request_has_one_context_in_one_thread_and_both_read_the_body() -> None:
    app, side = flask_app()
    with site(side, ITEM) as client:
        answer = client.post("/items/3", data={"a": "x" * 100_000})
        assert answer.json() == [True, 1, {"a": "x" * 100_000}, "/items/4", 100_002]
        assert answer.headers["x-order"] == "before,view"
        assert client.get("/items/3").json()[1] == 2
        assert client.get("/items/3?shout=1").text.startswith("[TRUE,3,")
    assert app.config["ENDED"] == [True, True, True]


def test_a_twin_answers_by_the_apps_own_view() -> None:
    app, side = flask_app()
    app.add_url_rule("/twins/<int:n>", "twin", lambda n: (f"{n} of {g.order}", 203) if n < 9 else abort(404, "none"))

    async def twin(request: Request) -> Any:
        request.state.legacy.g(request).order.append("twin")
        return await request.state.legacy.view(request)

    with site(side, Route("/twins/{n:int}", twin)) as client:
        answer = client.get("/twins/3")
        assert (answer.status_code, answer.text) == (203, "3 of ['before', 'twin']")
        assert answer.headers["x-order"] == "before,twin"
        for accept in ("text/html", "application/json"):  # the app's own page, whoever asks
            gone = client.get("/twins/9", headers={"accept": accept})
            assert (gone.status_code, gone.text) == (404, "lost: none")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/items/3?away=1", 403, "turned away"),
        ("/items/3?fail=key", 409, "a key"),
        ("/items/3?fail=404", 404, "lost: no item"),
        ("/items/3?fail=crash", 500, "Internal Server Error"),
        ("/none", 404, "lost: The requested URL"),
    ],
)
def test_errors_and_refusals_are_the_apps_and_pass_its_hooks(path: str, status: int, text: str) -> None:
    _, side = flask_app()
    with site(side, ITEM) as client:
        answer = client.get(path)
        assert (answer.status_code, text in answer.text) == (status, True), answer.text
        assert answer.headers["x-order"] == "before"
        assert client.get(path, headers={"x-closed": "1"}).status_code == 401


def test_teardown_functions_are_told_of_what_no_handler_took() -> None:
    app, side = flask_app()
    with site(side, ITEM) as client:
        for query in ("", "?fail=key", "?fail=404", "?fail=crash"):
            client.get(f"/items/3{query}")
    assert app.config["TOLD"] == ["NoneType", "NoneType", "NoneType", "RuntimeError"]


@pytest.mark.anyio
async def test_a_client_that_leaves_in_the_middle_of_its_upload_reaches_no_function() -> None:
    app, side = flask_app()
    messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    scope = {"type": "http", "method": "POST", "path": "/items/3", "headers": [], "scheme": "http"}

    async def receive() -> Any:
        return messages.pop(0)

    async def never(*_: Any) -> None:
        raise AssertionError("it was answered")

    await side.around(never)(scope, receive, never)
    assert "TOLD" not in app.config


@pytest.mark.anyio
async def test_a_request_that_is_cancelled_while_its_context_begins_gives_its_thread_back() -> None:
    app, side = flask_app()
    begins, goes_on = threading.Event(), threading.Event()

    def slow(app: Any, request: Any) -> None:
        begins.set()
        goes_on.wait(30)

    app.session_interface.open_session = slow  # type: ignore[method-assign]
    scope = {"type": "http", "method": "GET", "path": "/items/3", "headers": [], "scheme": "http"}

    async def nothing_more(*_: Any) -> Any: ...

    asking = asyncio.ensure_future(side.around(nothing_more)(scope, nothing_more, nothing_more))  # type: ignore[arg-type]
    assert await asyncio.to_thread(begins.wait, 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    goes_on.set()
    until = time.monotonic() + 30
    while not side.threads.idle:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    assert app.config["TOLD"] == ["NoneType"]


def test_a_stream_goes_on_as_it_is_with_the_headers_of_the_hooks() -> None:
    async def stream(request: Request) -> Any:
        async def parts() -> AsyncIterator[str]:
            for n in range(3):
                yield await request.state.legacy.run(request, lambda n=n: f"{n}{g.order[0]}")

        return StreamingResponse(request.state.legacy.stream_with_context(request, parts()))

    _, side = flask_app()
    with site(side, Route("/items/{id:int}", stream)) as client:
        answer = client.get("/items/3")
        assert (answer.text, answer.headers["x-order"]) == ("0before1before2before", "before")
        assert "content-length" not in answer.headers


def test_a_flask_response_that_streams_is_read_in_the_requests_thread() -> None:
    threads: list[bool] = []

    async def view(request: Request) -> Any:
        def rows() -> Any:
            thread = threading.get_ident()
            return Response(
                (threads.append(thread == threading.get_ident()) or f"{n}," for n in range(3)),  # type: ignore[func-returns-value]
                mimetype="text/csv",
            )

        return await request.state.legacy.run(request, rows)

    _, side = flask_app()
    with site(side, Route("/items/{id:int}", view), Route("/plain", view), plain=("GET /plain",)) as client:
        answer = client.get("/items/3")
        assert (answer.text, threads, answer.headers["x-order"]) == ("0,1,2,", [True] * 3, "before")
        assert "content-length" not in answer.headers
        assert client.get("/plain").text == "0,1,2,"


def test_a_plain_route_has_a_context_of_its_own_for_each_call() -> None:
    async def plain(request: Request) -> Any:
        legacy = request.state.legacy
        await legacy.run(request, flash, "hello")
        page = await legacy.run(request, lambda: [g.get("order"), request_path()])
        return JSONResponse([*page, legacy.url_for(request, "item", id=1), legacy.json({"b": 1}).body.decode()])

    def request_path() -> str:
        return request.path

    _, side = flask_app()
    with site(side, Route("/plain", plain), plain=("GET /plain",)) as client:
        answer = client.get("/plain")
        assert answer.json() == [None, "/plain", "/items/1", '{"b":1}\n']
        assert "x-order" not in answer.headers
        assert "session=" in answer.headers["set-cookie"]


def test_async_functions_share_the_servers_loop_where_they_are_told_to() -> None:
    loops = []

    async def note() -> str:
        loops.append(asyncio.get_running_loop())
        return str(g.order)

    async def failing() -> None:
        raise KeyError("in a task")

    async def view(request: Request) -> Any:
        loops.append(asyncio.get_running_loop())
        run = request.state.legacy.run
        return PlainTextResponse(await run(request, failing if request.query_params else note))

    _, side = flask_app(one_loop=True)
    with site(side, Route("/items/{id:int}", view)) as client:
        assert client.get("/items/3").text == "['before']"
        assert client.get("/items/3?x=1").text == "a key"
    assert len(set(loops)) == 1


def test_checks_see_the_handshake_of_a_websocket() -> None:
    async def talk(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text("open")
        await websocket.close()

    _, side = flask_app()
    routes = WebSocketRoute("/talk", talk), WebSocketRoute("/open", talk)
    with site(side, *routes, plain=("WEBSOCKET /open",)) as client:
        with client.websocket_connect("/talk") as socket:
            assert socket.receive_text() == "open"
        with client.websocket_connect("/open?away=1") as socket:
            assert socket.receive_text() == "open"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk?away=1"):
            pass
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/none"):
            pass


def test_a_session_that_the_app_stores_is_opened_and_saved_by_its_own_interface(tmp_path: Path) -> None:
    flask_session = pytest.importorskip("flask_session", reason="pip install flask-session cachelib")
    cachelib = pytest.importorskip("cachelib", reason="pip install cachelib")
    app, _ = flask_app()
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cachelib.FileSystemCache(str(tmp_path)))
    flask_session.Session(app)
    app.add_url_rule("/seen", "seen", lambda: str(session.get("seen")))
    theirs = app.test_client()
    side = FlaskSide(app)
    with site(side, ITEM, stored=True) as client:
        first = client.get("/items/3")
        assert (first.json()[1], "session=" in first.headers["set-cookie"]) == (1, True)
        assert client.get("/items/3").json()[1] == 2
        app.session_interface = side.session_interface
        theirs.set_cookie("session", client.cookies["session"], domain="localhost")
        assert theirs.get("/seen").text == "2", "Flask finds what the written app has stored"


def test_methods_and_slashes_are_as_they_were() -> None:
    async def view(request: Request) -> Any:
        return PlainTextResponse(request.method)

    routes = [
        Route("/a", view),
        Route("/a", view, methods=["POST"]),
        Route("/b/", view),
        Mount("/m", app=Starlette(routes=[Route("/x", view)])),
    ]
    app = Starlette(exception_handlers={HTTPException: error_page, Exception: error_page})
    app.router = SiteRouter(routes)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        refused = client.put("/a")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
        assert client.options("/a").headers["allow"] == "GET, HEAD, OPTIONS, POST"
        assert client.head("/a").text == ""
        moved = client.get("/b?q=ü")
        assert (moved.status_code, moved.headers["location"]) == (308, "/b/?q=%C3%BC")
        assert client.get("/a/").status_code == 404
        assert client.get("/m/x").text == "GET"
        page = client.get("/none", headers={"accept": "application/json"})
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_errors_of_routes_are_json_for_who_prefers_it() -> None:
    async def view(request: Request) -> Any:
        raise HTTPException(404, "no such thing") if request.query_params else RuntimeError("x")

    app = Starlette(
        middleware=[Middleware(RequestIds)], exception_handlers={HTTPException: error_page, Exception: error_page}
    )
    app.router = SiteRouter([Route("/a", view)])
    with TestClient(app, raise_server_exceptions=False) as client:
        told = client.get("/a?x=1", headers={"accept": "application/json", "x-request-id": "abc"})
        assert told.json() == {"error": {"code": "not_found", "message": "no such thing", "request_id": "abc"}}
        assert told.headers["x-request-id"] == "abc"
        assert "<p>no such thing</p>" in client.get("/a?x=1").text
        assert client.get("/a").status_code == 500
        assert len(client.get("/a?x=1", headers={"x-request-id": "a\\b"}).headers["x-request-id"]) == 32


@pytest.mark.anyio
async def test_tasks_are_told_of_by_their_ids_and_end_with_the_worker() -> None:
    async def work(name: str) -> None:
        step(name)
        if name == "bad":
            raise ValueError("no")
        if name == "long":
            await asyncio.sleep(60)

    async with Runner.open(seconds=0.05) as tasks:
        ids = [tasks.start(work, name) for name in ("good", "bad", "long")]
        threaded = await asyncio.to_thread(start, time.sleep, 0)
        until = time.monotonic() + 30
        while (await tasks.counts())["done"] < 2 or (await tasks.counts())["failed"] < 1:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        good, bad, _ = [await tasks.find(id) for id in ids]
        assert (good.state, good.as_json()["step"], good.response().status_code) == ("done", "good", 200)
        assert (bad.state, bad.error) == ("failed", "ValueError: no")
        assert (await tasks.find(threaded)).state == "done"
        assert await tasks.find("none") is None
    assert (await tasks.find(ids[2])).state == "interrupted"
    with pytest.raises(RuntimeError, match="while the site runs"):
        start(work, "late")
    step("outside of a task is nothing")


@pytest.mark.anyio
async def test_lifespans_below_run_and_one_that_fails_says_so() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, object]]:
        events.append("begin")
        yield {"a": 1}
        events.append("end")

    @asynccontextmanager
    async def failing(app: Any) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    async with running(Starlette(lifespan=lifespan)) as state:
        assert (state, events) == ({"a": 1}, ["begin"])
    assert events == ["begin", "end"]
    with pytest.raises(RuntimeError, match="no database"):
        async with running(Starlette(lifespan=failing)):
            pass

    async def knows_none(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async with running(knows_none) as state:
        assert state == {}


def test_static_files_have_the_headers_of_flask(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a")
    app = Starlette(routes=[Mount("/old", FlaskStatic(str(tmp_path))), Mount("/new", FlaskStatic(str(tmp_path), 60))])
    with TestClient(app) as client:
        old, new = client.get("/old/a.css"), client.get("/new/a.css")
    assert (old.headers["cache-control"], new.headers["cache-control"]) == ("no-cache", "public, max-age=60")
    assert old.headers["content-disposition"] == "inline; filename=a.css"
