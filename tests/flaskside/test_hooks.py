from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import flask
import httpx2 as httpx
import pytest
from flask import Blueprint, Flask, g
from flask import Response as FlaskResponse
from flask_cors import CORS
from flask_limiter import Limiter
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_talisman import Talisman
from flask_wtf.csrf import CSRFProtect, generate_csrf
from packaging.version import Version
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from graft.flaskside import hooks
from graft.request_record import KEY, RequestRecord
from graft.threads import executor
from graft.threads.pool import PoolFull
from graft.types import Side
from tests.bridge.wire import Conversation, connect, get, read_all, read_until, serving, until_true
from tests.bridge.wire import request as part
from tests.flaskside.native import World

# Flask-Login 0.6.3 on Python 3.12 and newer.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

trail: ContextVar[tuple[str, ...]] = ContextVar("trail", default=())


def make_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="key", **config)
    return app


async def answer(world: World, path: str = "/", method: str = "GET", **settings: Any) -> httpx.Response:
    async with world.client() as client:
        return await client.request(method, path, **settings)


def add_both(app: Flask, path: str = "/page") -> World:
    """``/page`` twice: as a Flask view, at ``/page`` of the plain app, and as its native twin in front."""

    @app.get(path)
    def page() -> str:
        return "page"

    world = World(app)

    @world.native(path)
    async def native_page(request: Request) -> Response:
        return PlainTextResponse("page")

    return world


def test_an_app_without_hooks_costs_a_native_route_nothing() -> None:
    app = make_app()

    async def native(scope: Scope, receive: Receive, send: Send) -> None: ...

    world = add_both(app)
    assert hooks.wrap(native, app, world.threads) is native
    app.before_request_funcs.setdefault(None, [])
    assert hooks.wrap(native, app, world.threads) is native
    app.before_request(lambda: None)
    assert hooks.wrap(native, app, world.threads) is not native
    assert hooks.wrap(native, app, world.threads, enabled=False) is native


def test_the_hooks_of_another_blueprint_are_not_needed() -> None:
    app = make_app()
    inner, other = Blueprint("inner", __name__), Blueprint("other", __name__)
    outer = Blueprint("outer", __name__)
    other.before_request(lambda: None)
    outer.after_request(lambda response: response)
    inner.add_url_rule("/inner", "view", lambda: "")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_blueprint(other)
    rule = next(rule for rule in app.url_map.iter_rules() if rule.endpoint == "outer.inner.view")
    assert hooks.has_hooks(app, rule)
    outer_only = Flask("plain")
    outer_only.register_blueprint(other)
    assert not hooks.has_hooks(outer_only)


@pytest.mark.filterwarnings("ignore:.*now takes 'ctx:DeprecationWarning")  # from Flask 3.2 on
def test_an_app_that_replaces_flasks_own_steps_has_hooks() -> None:
    class Guarded(Flask):
        def preprocess_request(self) -> Any:
            return "closed"

    assert hooks.has_hooks(Guarded("guarded"))


def recorded(app: Flask, blueprint: Blueprint, record: list[str]) -> None:
    """Every kind of function that Flask runs around a view, on the app and on a blueprint."""
    for name, owner in (("app", app), ("blueprint", blueprint)):
        owner.url_value_preprocessor(lambda endpoint, values, name=name: record.append(f"{name} values {values}"))
        owner.before_request(lambda name=name: record.append(f"{name} before 1"))
        owner.before_request(lambda name=name: record.append(f"{name} before 2"))
        owner.after_request(lambda response, name=name: record.append(f"{name} after 1") or response)
        owner.after_request(lambda response, name=name: record.append(f"{name} after 2") or response)
        owner.teardown_request(lambda error, name=name: record.append(f"{name} teardown {error}"))
    app.teardown_appcontext(lambda error: record.append("context teardown"))


@pytest.mark.parametrize("ending", ["page", "abort", "redirect"])
async def test_everything_runs_in_the_order_of_flask(ending: str) -> None:
    def make(record: list[str]) -> tuple[Flask, World]:
        app = make_app()
        blueprint = Blueprint("shop", __name__)
        recorded(app, blueprint, record)
        app.register_error_handler(418, lambda error: (record.append("handler"), ("teapot", 418))[1])

        @blueprint.get("/shop/<int:number>")
        def view(number: int) -> Any:
            record.append("view")

            @flask.after_this_request
            def late(response: flask.Response) -> flask.Response:
                record.append("after this request")
                return response

            if ending == "abort":
                flask.abort(418)
            return flask.redirect("/") if ending == "redirect" else "page"

        app.register_blueprint(blueprint)
        world = World(app)

        @world.native("/shop/{number:int}")
        async def native(request: Request) -> Response:
            record.append("view")

            def late(response: flask.Response) -> flask.Response:
                record.append("after this request")
                return response

            await request.state.legacy.run(request, flask.after_this_request, late)
            if ending == "abort":
                raise HTTPException(418)
            redirect = Response(status_code=flask.redirect("/").status_code, headers={"location": "/"})
            return redirect if ending == "redirect" else Response("page")

        return app, world

    flasks: list[str] = []
    ours: list[str] = []
    expected = make(flasks)[0].test_client().get("/shop/3")
    found = await answer(make(ours)[1], "/shop/3")
    assert ours == flasks
    assert found.status_code == expected.status_code


async def test_what_a_before_request_function_returns_is_the_answer_and_the_native_route_never_runs() -> None:
    app = make_app()
    app.before_request(lambda: ("closed", 503, {"Retry-After": "60"}))
    ran = []
    world = add_both(app)

    @world.native("/guarded")
    async def guarded(request: Request) -> Response:
        ran.append(1)
        return PlainTextResponse("secret")

    app.add_url_rule("/guarded", "guarded", lambda: "secret")
    response = await answer(world, "/page")
    assert (response.status_code, response.text, response.headers["retry-after"]) == (503, "closed", "60")
    assert not ran


async def test_an_exception_in_a_before_request_function_is_told_by_the_apps_handler() -> None:
    class Banned(Exception):
        pass

    app = make_app()
    app.register_error_handler(Banned, lambda error: ("banned", 403))

    @app.before_request
    def guard() -> None:
        raise Banned

    response = await answer(add_both(app), "/page")
    assert (response.status_code, response.text) == (403, "banned")


async def test_a_before_request_function_that_crashes_shuts_the_route_and_shows_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app()
    torn: list[Any] = []
    app.teardown_request(torn.append)

    @app.before_request
    def guard() -> None:
        raise LookupError("planted detail")

    response = await answer(add_both(app), "/page")
    assert response.status_code == 500
    assert "planted detail" not in response.text
    assert "planted detail" in caplog.text
    assert len(torn) == 1
    assert isinstance(torn[0], LookupError)


async def test_a_streamed_early_answer_is_sent_whole_and_its_context_lives_to_its_end() -> None:
    app = make_app()

    @app.before_request
    def early() -> Any:
        def lines() -> Any:
            yield flask.request.path
            yield flask.current_app.name

        return flask.Response(flask.stream_with_context(lines()))

    assert (await answer(add_both(app), "/page")).text == "/page" + app.name


async def test_hooks_and_native_route_share_one_context_across_threads() -> None:
    app = make_app()
    seen: list[Any] = []

    @app.before_request
    def before() -> None:
        g.user = object()
        flask.session["from"] = "before"
        seen.append((g.user, flask.request.endpoint, flask.request.view_args, threading.current_thread().name))
        trail.set((*trail.get(), "before"))

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        seen.append((g.user, trail.get(), flask.session["native"]))
        return response

    app.add_url_rule("/item/<int:n>", "item", lambda n: "")
    world = World(app)

    @world.native("/item/{n:int}")
    async def native(request: Request) -> Response:
        assert request.session["from"] == "before"
        request.session["native"] = 1
        assert trail.get() == ("before",)
        trail.set((*trail.get(), "native"))
        seen.append(await request.state.legacy.run(request, lambda: (g.user, trail.get(), flask.request.endpoint)))
        return PlainTextResponse()

    async with world.client() as client:
        assert (await client.get("/item/7")).status_code == 200
        assert "session" in client.cookies
    before_, during, after_ = seen
    assert before_[0] is during[0] is after_[0]
    assert before_[1:3] == ("item", {"n": 7})
    assert before_[3].startswith("legacy")
    assert during[1:] == (("before", "native"), "item")
    assert after_[1:] == (("before", "native"), 1)


async def test_async_hooks_work() -> None:
    app = make_app()

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)
        g.seen = "async"

    @app.after_request
    async def after(response: flask.Response) -> flask.Response:
        response.headers["X-Seen"] = g.seen
        return response

    assert (await answer(add_both(app), "/page")).headers["x-seen"] == "async"


@pytest.mark.parametrize(
    ("path", "method", "template"),
    [
        ("/native-only/7", "GET", "/native-only/{id:int}"),
        ("/listed", "POST", "/listed"),  # the app has the path, for GET
        ("/numbered/x", "GET", "/numbered/{id}"),  # the app has it for numbers
    ],
)
async def test_what_the_app_has_no_rule_for_is_seen_by_the_hooks_under_the_native_routes_own(
    path: str, method: str, template: str
) -> None:
    app = make_app()
    app.add_url_rule("/listed", "listed", lambda: "")
    app.add_url_rule("/numbered/<int:id>", "numbered", lambda id: "")
    app.register_blueprint(Blueprint("tests", __name__))
    seen: list[Any] = []

    @app.before_request
    def look() -> None:
        request = flask.request
        assert request.url_rule is not None
        assert (request.routing_exception, request.blueprint, request.blueprints) == (None, None, [])
        seen.append((request.url_rule.rule, request.endpoint, request.view_args, request.path))

    world = World(app)

    @world.native(template, (method,))
    async def native_only(request: Request) -> Response:
        return PlainTextResponse("native")

    assert (await answer(world, path, method)).text == "native"
    [(rule, endpoint, arguments, asked)] = seen
    assert (rule, asked) == (template, path)
    assert endpoint.startswith("native:tests:flaskside:test_hooks:test_what_the_app_has_no_rule_for")
    assert arguments == ({"id": 7} if "int" in template else {"id": "x"} if "id" in template else {})


async def test_a_rule_that_would_have_answered_says_which_hooks_run_also_around_a_native_only_route() -> None:
    app = make_app()
    pages = Blueprint("pages", __name__)
    pages.add_url_rule("/<path:rest>", "any", lambda rest: "")
    pages.before_request(lambda: ("closed", 403))
    app.before_request(lambda: None)
    app.register_blueprint(pages, url_prefix="/admin")
    world = World(app)

    @world.native("/admin/figures")
    async def figures(request: Request) -> Response:
        return PlainTextResponse("native")

    assert (await answer(world, "/admin/figures")).status_code == 403


async def test_after_request_functions_change_status_headers_and_a_whole_body() -> None:
    app = make_app()

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        response.status_code = 201
        response.set_data(response.get_data().upper() + b"!!")
        response.headers.add("X-Many", "1")
        response.headers.add("X-Many", "2")
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response

    response = await answer(add_both(app), "/page")
    assert (response.status_code, response.text, response.headers["content-length"]) == (201, "PAGE!!", "6")
    assert response.headers.get_list("x-many") == ["1", "2"]
    assert dict(response.cookies) == {"one": "1", "two": "2"}


async def test_another_response_in_the_place_of_the_native_one_is_sent() -> None:
    app = make_app()
    app.after_request(lambda response: flask.Response("replaced", 410))
    response = await answer(add_both(app), "/page")
    assert (response.status_code, response.text) == (410, "replaced")


def streaming(app: Flask) -> World:
    app.add_url_rule("/stream", "stream", lambda: "")
    world = World(app)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        async def parts() -> Any:
            yield "one "
            yield "two"

        return StreamingResponse(parts(), headers={"ETag": '"native"'})

    return world


async def test_a_stream_gets_its_headers_from_after_request_and_flows_on() -> None:
    app = make_app()

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        assert response.is_streamed
        assert response.direct_passthrough
        response.headers["X-After"] = "yes"
        return response

    response = await answer(streaming(app), "/stream")
    assert (response.text, response.headers["x-after"]) == ("one two", "yes")


async def test_a_function_that_compresses_a_stream_does_not_break_it(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    @app.after_request
    def compress(response: flask.Response) -> flask.Response:
        body = response.response
        response.direct_passthrough = False
        response.response = (bytes(part) for part in body)  # type: ignore[arg-type]
        response.headers["Content-Encoding"] = "gzip"
        response.headers["ETag"] = '"compressed"'
        response.headers["X-Other"] = "kept"
        return response

    response = await answer(streaming(app), "/stream")
    assert response.text == "one two"
    assert "content-encoding" not in response.headers
    assert (response.headers["etag"], response.headers["x-other"]) == ('"native"', "kept")
    assert "stays as it was" in caplog.text


async def test_a_function_that_reads_a_streamed_body_is_an_error_that_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app()

    @app.after_request
    def read(response: flask.Response) -> flask.Response:
        response.direct_passthrough = False
        response.get_data()
        return response

    response = await answer(streaming(app), "/stream")
    assert response.status_code == 500
    assert "streamed native response" in caplog.text


async def test_a_stream_can_be_replaced_as_a_whole() -> None:
    app = make_app()

    @app.after_request
    def replace(response: flask.Response) -> flask.Response:
        response.direct_passthrough = False
        response.set_data(b"instead")
        return response

    assert (await answer(streaming(app), "/stream")).text == "instead"


async def test_after_request_that_crashes_gives_the_apps_500_page() -> None:
    app = make_app()
    app.register_error_handler(500, lambda error: ("our 500", 500))

    @app.after_request
    def crash(response: flask.Response) -> flask.Response:
        if response.status_code == 200:
            raise LookupError
        return response

    response = await answer(add_both(app), "/page")
    assert (response.status_code, response.text) == (500, "our 500")


async def test_204_and_head_keep_their_headers() -> None:
    app = make_app()
    app.after_request(lambda response: response)
    app.add_url_rule("/gone", "gone", lambda: "", methods=["DELETE"])
    world = add_both(app)

    @world.native("/gone", ("DELETE",))
    async def gone(request: Request) -> Response:
        return Response(status_code=204)

    response = await answer(world, "/gone", "DELETE")
    assert (response.status_code, response.content) == (204, b"")
    assert not {"content-type", "content-length"} & set(response.headers)
    assert (await answer(world, "/page", "HEAD")).headers["content-length"] == "4"


async def test_a_native_crash_reaches_teardown_and_its_session_is_saved_with_the_error_page() -> None:
    app = make_app()
    torn: list[Any] = []
    app.teardown_request(torn.append)
    app.add_url_rule("/crash", "crash", lambda: "")
    world = World(app)

    @world.native("/crash")
    async def crash(request: Request) -> Response:
        request.session["tried"] = True
        raise LookupError("planted")

    async with world.client() as client:
        assert (await client.get("/crash")).status_code == 500
        assert "session" in client.cookies
    assert isinstance(torn[0], LookupError)


async def test_the_error_page_of_a_native_crash_finds_what_the_hooks_left(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    app.before_request(lambda: setattr(g, "user", "Ada"))
    app.register_error_handler(500, lambda error: (f"sorry, {g.user}: {type(error.original_exception).__name__}", 500))
    app.add_url_rule("/crash", "crash", lambda: "")
    world = World(app)

    @world.native("/crash")
    async def crash(request: Request) -> Response:
        raise LookupError("planted")

    response = await answer(world, "/crash")
    assert (response.status_code, response.text) == (500, "sorry, Ada: LookupError")
    assert "planted" in caplog.text


async def test_the_hooks_of_a_mirrored_request_run_on_threads_of_their_own() -> None:
    app = make_app()
    names: list[str] = []
    app.before_request(lambda: names.append(threading.current_thread().name))
    inner = add_both(app).asgi()

    async def mirrored(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, KEY: RequestRecord.mirrored(Side.NATIVE)}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(mirrored), base_url="http://test") as client:
        assert (await client.get("/page")).text == "page"
    assert names[0].startswith("legacy-mirror")


async def test_an_error_that_someone_further_out_answers_is_left_to_them() -> None:
    class SearchIsDown(Exception):
        pass

    app = make_app()
    torn: list[Any] = []
    app.teardown_request(torn.append)
    app.register_error_handler(500, lambda error: ("our 500", 500))
    app.add_url_rule("/search", "search", lambda: "")
    world = World(app)

    @world.native("/search")
    async def search(request: Request) -> Response:
        raise SearchIsDown

    starlette = world.asgi()
    starlette.add_exception_handler(SearchIsDown, lambda request, error: PlainTextResponse("search is down", 503))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(starlette), base_url="http://test") as client:
        response = await client.get("/search")
    assert (response.status_code, response.text) == (503, "search is down")
    assert [type(error) for error in torn] == [SearchIsDown]


async def test_a_request_that_is_given_up_is_torn_down_all_the_same() -> None:
    app = make_app()
    torn = threading.Event()
    inside = threading.Event()
    app.teardown_request(lambda error: torn.set())
    app.add_url_rule("/wait", "wait", lambda: "")
    app.before_request(inside.set)
    world = World(app)

    @world.native("/wait")
    async def wait(request: Request) -> Response:
        await asyncio.sleep(60)
        return Response()

    request = asyncio.create_task(answer(world, "/wait"))
    assert await asyncio.to_thread(inside.wait, 5)
    await asyncio.sleep(0.02)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await asyncio.to_thread(torn.wait, 5)


async def test_a_request_that_is_given_up_in_its_first_hook_is_torn_down_when_the_thread_is_back() -> None:
    app = make_app()
    torn, inside, go_on = threading.Event(), threading.Event(), threading.Event()
    app.teardown_request(lambda error: torn.set())

    @app.before_request
    def hold() -> None:
        inside.set()
        go_on.wait(5)

    request = asyncio.create_task(answer(add_both(app), "/page"))
    assert await asyncio.to_thread(inside.wait, 5)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert not torn.is_set()
    go_on.set()
    assert await asyncio.to_thread(torn.wait, 5)


async def test_requests_above_the_queue_are_refused_and_hooks_are_not_skipped() -> None:
    app = make_app()
    go_on = threading.Event()
    app.before_request(lambda: go_on.wait(5) and None)
    app.add_url_rule("/page", "page", lambda: "")
    world = World(app, threads=1, queue=1)
    ran = []

    @world.native("/page")
    async def native(request: Request) -> Response:
        ran.append(1)
        return PlainTextResponse("page")

    async with world.client() as client:
        requests = [asyncio.create_task(client.get("/page")) for _ in range(4)]
        await until_true(lambda: world.pool.stats().shed == 2)
        go_on.set()
        statuses = sorted([response.status_code for response in await asyncio.gather(*requests)])
    assert statuses == [200, 200, 503, 503]
    assert len(ran) == 2


async def test_a_thread_is_there_to_end_a_request_while_all_others_wait_for_what_it_holds() -> None:
    """Two connections, two threads, ten requests: each takes a connection in a hook and gives it back in teardown."""
    app = make_app()
    connections = threading.Semaphore(2)

    @app.before_request
    def take() -> None:
        assert connections.acquire(timeout=5)

    app.teardown_request(lambda error: connections.release())
    app.add_url_rule("/page", "page", lambda: "")
    world = World(app, threads=2)

    @world.native("/page")
    async def native(request: Request) -> Response:
        await asyncio.sleep(0.01)
        return PlainTextResponse(await request.state.legacy.run(request, lambda: "page"))

    async with world.client() as client:
        responses = await asyncio.gather(*(client.get("/page") for _ in range(10)))
    assert [response.status_code for response in responses] == [200] * 10


@pytest.mark.parametrize("size", [10, 300_000, 3_000_000])
async def test_a_body_is_there_for_the_hooks_and_once_more_for_the_native_route(size: int) -> None:
    app = make_app(MAX_FORM_MEMORY_SIZE=None)
    seen: list[int] = []
    app.before_request(lambda: seen.append(len(flask.request.form["text"])))
    app.add_url_rule("/form", "form", lambda: "", methods=["POST"])
    world = World(app)

    @world.native("/form", ("POST",))
    async def form(request: Request) -> Response:
        return JSONResponse(len(await request.body()))

    response = await answer(world, "/form", "POST", data={"text": "x" * size})
    assert (response.json(), seen) == (size + len("text="), [size])


@pytest.mark.parametrize("content", [b"", None, b"x"])
async def test_a_native_route_reads_its_body_to_the_end_whatever_was_read_ahead(content: bytes | None) -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/read", "read", lambda: "", methods=["POST"])
    world = World(app)

    @world.native("/read", ("POST",))
    async def read(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    response = await asyncio.wait_for(answer(world, "/read", "POST", content=content), 5)
    assert response.content == (content or b"")
    response = await asyncio.wait_for(answer(world, "/read", "POST", headers={"content-length": "0"}), 5)
    assert response.content == b""


async def test_a_body_that_no_hook_reads_streams_into_the_native_route() -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/upload", "upload", lambda: "", methods=["POST"])
    world = World(app)

    @world.native("/upload", ("POST",))
    async def upload(request: Request) -> Response:
        return JSONResponse(sum([len(chunk) async for chunk in request.stream()]))

    async def chunks() -> Any:
        for _ in range(50):
            yield b"x" * 10_000

    assert (await answer(world, "/upload", "POST", content=chunks())).json() == 500_000


def uploading(reads: str, **limits: Any) -> World:
    """A native route behind hooks whose body is read by ``reads``: a hook, the route, or legacy.run."""
    app = make_app()
    app.before_request(lambda: setattr(flask.g, "size", len(flask.request.get_data())) if reads == "hook" else None)
    app.add_url_rule("/upload", "upload", lambda: "", methods=["POST"])
    world = World(app, **limits)

    @world.native("/upload", ("POST",))
    async def upload(request: Request) -> Response:
        if reads == "legacy.run":
            return JSONResponse(await request.state.legacy.run(request, lambda: len(flask.request.get_data())))
        return JSONResponse(len(await request.body()))

    return world


READERS = ["hook", "native", "legacy.run"]


@pytest.mark.parametrize("reads", READERS)
@pytest.mark.parametrize("sent", [0, 100_000])
async def test_a_client_that_stops_sending_is_given_up_whoever_reads(reads: str, sent: int) -> None:
    world = uploading(reads, stall_timeout=0.05)
    upload = Conversation(
        *([part(b"x" * sent, more=True)] if sent else []),
        path="/upload",
        method="POST",
        headers=[("Content-Length", "300000")],
    )
    await asyncio.wait_for(upload.ask(world.asgi()), 5)
    assert upload.status == 408
    await until_true(lambda: world.pool.stats().busy == 0)


@pytest.mark.parametrize("reads", READERS)
async def test_a_client_that_pauses_in_its_upload_gets_its_answer(reads: str) -> None:
    with serving(uploading(reads).asgi()) as port, connect(port) as connection:
        connection.sendall(get("/upload", "Content-Length: 300000", method="POST"))
        for _ in range(30):
            connection.sendall(b"x" * 10_000)
            time.sleep(0.005)  # noqa: ASYNC251 - the server has a thread of its own
        assert read_all(connection).endswith(b"\r\n\r\n300000")


@pytest.mark.parametrize("reads", READERS)
async def test_a_client_that_waits_to_be_told_is_told_when_somebody_reads(reads: str) -> None:
    with serving(uploading(reads).asgi()) as port, connect(port) as connection:
        connection.sendall(get("/upload", "Content-Length: 300000", "Expect: 100-continue", method="POST"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(b"x" * 300_000)
        assert read_all(connection).endswith(b"\r\n\r\n300000")


async def test_a_client_that_waits_to_be_told_and_is_refused_by_a_hook_sends_nothing() -> None:
    app = make_app()
    app.before_request(lambda: ("no", 401))
    app.add_url_rule("/upload", "upload", lambda: "", methods=["POST"])
    world = World(app)
    world.native("/upload", ("POST",))(lambda request: PlainTextResponse("taken"))  # type: ignore[arg-type, return-value]
    headers = [("Content-Length", "300000"), ("Expect", "100-continue")]
    upload = await Conversation(path="/upload", method="POST", headers=headers).ask(world.asgi())
    assert (upload.status, upload.received) == (401, 0)


@pytest.mark.parametrize("reads", READERS)
async def test_a_body_shorter_than_its_length_is_no_whole_body_and_one_longer_is_cut(reads: str) -> None:
    short = Conversation(part(b"x" * 10), path="/upload", method="POST", headers=[("Content-Length", "11")])
    assert (await short.ask(uploading(reads).asgi())).status == 400
    long = Conversation(part(b"x" * 10), path="/upload", method="POST", headers=[("Content-Length", "9")])
    assert (await long.ask(uploading(reads).asgi())).body == b"9"


async def test_a_body_above_the_apps_own_limit_gets_the_apps_own_413() -> None:
    app = make_app(MAX_CONTENT_LENGTH=1000)
    app.register_error_handler(413, lambda error: ("too large for us", 413))
    app.before_request(lambda: flask.request.form and None)
    app.add_url_rule("/form", "form", lambda: "", methods=["POST"])
    world = World(app)

    @world.native("/form", ("POST",))
    async def form(request: Request) -> Response:
        return PlainTextResponse("taken")

    response = await answer(world, "/form", "POST", data={"text": "x" * 2000})
    assert (response.status_code, response.text) == (413, "too large for us")


def with_login(app: Flask) -> World:
    manager = LoginManager(app)
    manager.login_view = "login"

    class User(UserMixin):
        def __init__(self, name: str) -> None:
            self.id = name

    manager.user_loader(User)

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if flask.request.method == "POST":
            login_user(User(flask.request.form["name"]), remember="remember" in flask.request.form)
            return "in"
        return "please log in"

    @app.post("/logout")
    def logout() -> str:
        logout_user()
        return "out"

    @app.get("/me")
    @login_required
    def me() -> str:
        return str(current_user.id)

    world = World(app)

    @world.native("/me")
    async def native_me(request: Request) -> Response:
        answered = await request.state.legacy.run(request, me)
        if isinstance(answered, str):
            return PlainTextResponse(answered, headers={"X-Native": "1"})
        return Response(status_code=answered.status_code, headers=dict(answered.headers))

    @world.native("/logout", ("POST",))
    async def native_logout(request: Request) -> Response:
        await request.state.legacy.run(request, logout_user)
        return PlainTextResponse("out")

    return world


async def test_flask_login_knows_the_user_in_a_native_route_and_logs_out_from_there() -> None:
    async with with_login(make_app()).client() as client:
        refused = await client.get("/me")
        redirected = flask.redirect("/").status_code  # 302, and 303 from Flask 3.2 on
        assert (refused.status_code, refused.headers["location"]) == (redirected, "/login?next=%2Fme")
        await client.post("/login", data={"name": "Ada", "remember": "1"})
        assert "remember_token" in client.cookies
        response = await client.get("/me")
        assert (response.text, response.headers["x-native"]) == ("Ada", "1")
        client.cookies.delete("session")
        assert (await client.get("/me")).text == "Ada"  # the remember-me cookie, into a new session
        assert "session" in client.cookies
        await client.post("/logout")
        assert "remember_token" not in client.cookies
        assert (await client.get("/me")).status_code == redirected


@pytest.mark.parametrize("rule", ["/form", "/another"])
async def test_flask_wtf_csrf_guards_switched_and_native_only_routes(rule: str) -> None:
    app = make_app()
    CSRFProtect(app)
    app.add_url_rule("/token", "token", generate_csrf)
    app.add_url_rule(rule, "form", lambda: "", methods=["POST"])
    world = World(app)

    @world.native("/form", ("POST",))
    async def form(request: Request) -> Response:
        return PlainTextResponse(str((await request.form())["text"]))

    async with world.client() as client:
        assert (await client.post("/form", data={"text": "hello"})).status_code == 400
        token = (await client.get("/token")).text
        response = await client.post("/form", data={"text": "hello", "csrf_token": token})
        assert (response.status_code, response.text) == (200, "hello")
        response = await client.post("/form", data={"text": "hello"}, headers={"X-CSRFToken": token})
        assert response.status_code == 200
        response = await client.post("/form", data={"text": "hello", "csrf_token": token + "x"})
        assert response.status_code == 400


async def test_flask_limiter_counts_both_sides_together() -> None:
    app = make_app()
    Limiter(
        lambda: flask.request.remote_addr or "",
        app=app,
        default_limits=["3/minute"],
        headers_enabled=True,
        storage_uri="memory://",
    )
    world = add_both(app)
    client = app.test_client()
    assert client.get("/page", environ_base={"REMOTE_ADDR": "127.0.0.1"}).status_code == 200
    async with world.client() as native:
        responses = [await native.get("/page") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].headers["x-ratelimit-remaining"] == "1"


async def test_flask_limiter_counts_native_only_routes_too() -> None:
    app = make_app()
    Limiter(lambda: "everyone", app=app, default_limits=["2/minute"], storage_uri="memory://")
    world = World(app)

    @world.native("/native-only")
    async def native_only(request: Request) -> Response:
        return PlainTextResponse("native")

    async with world.client() as client:
        statuses = [(await client.get("/native-only")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_flask_talisman_and_cors_headers_are_those_of_flask_neither_doubled_nor_weaker() -> None:
    app = make_app()
    Talisman(app, force_https=False)
    CORS(app, origins=["https://friend.example"])
    world = add_both(app)
    headers = {"Origin": "https://friend.example"}
    flasks = app.test_client().get("/page", headers=headers).headers
    response = await answer(world, "/page", headers=headers)
    for name in ("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Access-Control-Allow-Origin"):
        assert response.headers.get_list(name) == [flasks[name]]


async def test_talisman_sends_a_native_route_to_https() -> None:
    app = make_app()
    Talisman(app)
    response = await answer(add_both(app), "/page")
    assert (response.status_code, response.headers["location"]) == (302, "https://testserver/page")


async def test_one_thread_serves_a_request_from_its_first_hook_to_its_teardown(tmp_path: Path) -> None:
    """So a sqlite3 connection that a hook opened, as in Flask's own tutorial, may be used and closed by the others."""
    app = make_app()
    idents: list[tuple[str, int]] = []

    def seen(what: str) -> None:
        idents.append((what, threading.get_ident()))

    @app.before_request
    def load_user() -> None:
        seen("before")
        g.db = sqlite3.connect(tmp_path / "flaskr.db")
        g.user = g.db.execute("select 7").fetchone()[0]

    @app.after_request
    def after(response: FlaskResponse) -> FlaskResponse:
        seen("after")
        response.headers["X-User"] = str(g.db.execute("select 8").fetchone()[0])
        return response

    @app.teardown_appcontext
    def close(error: BaseException | None) -> None:
        seen("teardown")
        g.db.close()

    app.add_url_rule("/page", "page", lambda: "")
    world = World(app, threads=4)

    @world.native("/page")
    async def native(request: Request) -> Response:
        user = await request.state.legacy.run(request, lambda: seen("run") or g.db.execute("select 9").fetchone()[0])
        return PlainTextResponse(str(user))

    async with world.client() as client:
        responses = await asyncio.gather(*(client.get("/page") for _ in range(40)))
    assert {(response.text, response.headers["X-User"]) for response in responses} == {("9", "8")}
    assert [what for what, _ in idents].count("teardown") == 40
    await until_true(lambda: world.pool.stats().busy == 0 and world.pool.stats().parked == 0)


async def test_requests_that_wait_natively_behind_hooks_hold_no_thread_of_the_pool() -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/page", "page", lambda: "")
    app.add_url_rule("/quick", "quick", lambda: "quick")
    world = World(app, threads=2)
    go_on, waiting = asyncio.Event(), []

    @world.native("/page")
    async def native(request: Request) -> Response:
        waiting.append(1)
        await go_on.wait()
        return PlainTextResponse("page")

    async with world.client() as client:
        asking = [asyncio.create_task(client.get("/page")) for _ in range(50)]
        await until_true(lambda: len(waiting) == 50)
        assert world.pool.stats().parked == 50
        assert (await client.get("/quick")).text == "quick"
        go_on.set()
        assert {response.status_code for response in await asyncio.gather(*asking)} == {200}
    await until_true(lambda: world.pool.stats().parked == 0)


def with_connections(trail: list[Any]) -> World:
    """An app that has a connection in ``g`` from before_request to teardown, and asks who is there."""
    app = make_app()
    app.add_url_rule("/stream", "stream", lambda: "")

    @app.before_request
    def connect() -> FlaskResponse | None:
        g.db = sqlite3.connect(":memory:")  # of this thread alone
        g.user = flask.request.args.get("user", "nobody")
        trail.append("before")
        return FlaskResponse("who?", 401) if trail.count("before") > 1 and "once" in flask.request.args else None

    @app.teardown_request
    def close(error: BaseException | None) -> None:
        if "db" not in g:
            trail.append("teardown of nothing")
            return
        g.db.execute("select 1")
        g.db.close()
        trail.append(("teardown", type(error)))

    return World(app)


PAGE = "teardown of nothing"  # of the error page, which nobody sees: the answer has begun


def ask() -> str:
    number = g.db.execute("select 1").fetchone()[0]
    g.count = g.get("count", 0) + number
    return f"{g.user} {g.count};"


async def test_the_calls_of_a_stream_share_one_context_and_thread_to_its_end() -> None:
    trail: list[Any] = []
    world = with_connections(trail)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            trail.append("body")
            for _ in range(3):
                yield await request.state.legacy.run(request, ask)

        async def background() -> None:
            trail.append("background")

        return StreamingResponse(body(), background=BackgroundTask(background))

    assert (await answer(world, "/stream?user=ann")).text == "ann 1;ann 2;ann 3;"
    ended = ("teardown", type(None))
    assert trail == ["before", ended, "body", "before", ended, "background"]
    assert world.threads.streams == 0
    await until_true(lambda: world.pool.stats().busy == 0)


async def test_a_stream_with_context_keeps_that_of_the_request_to_its_end() -> None:
    trail: list[Any] = []
    world = with_connections(trail)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        legacy = request.state.legacy
        first = await legacy.run(request, ask)

        async def body() -> AsyncIterator[str]:
            yield first
            trail.append("body")
            for said in await asyncio.gather(legacy.run(request, ask), legacy.run(request, ask)):
                yield said

        return StreamingResponse(legacy.stream_with_context(request, body()))

    assert (await answer(world, "/stream?user=ann")).text == "ann 1;ann 2;ann 3;"
    assert trail == ["before", "body", ("teardown", type(None))]
    assert world.threads.streams == 0
    await until_true(lambda: world.pool.stats().busy == 0)


def streaming_view(world: World, make: Callable[[], FlaskResponse], *, hooked: bool = True) -> None:
    """``/stream`` is a native route that returns what the view would."""

    @world.native("/stream", hooked=hooked)
    async def stream(request: Request) -> Response:
        made: Response = await request.state.legacy.run(request, make)
        return made


async def test_a_stream_of_flask_s_that_a_native_route_returns_is_made_in_the_request_s_context_and_thread() -> None:
    trail: list[Any] = []
    world = with_connections(trail)

    @world.app.after_request
    def see(response: FlaskResponse) -> FlaskResponse:
        trail.append(response.is_streamed)
        return response

    def view() -> FlaskResponse:
        def lines() -> Iterator[str]:
            for _ in range(3):
                yield f"{flask.request.path} {ask()}"

        response = FlaskResponse(flask.stream_with_context(lines()))
        response.call_on_close(lambda: trail.append("closed"))
        return response

    streaming_view(world, view)
    response = await answer(world, "/stream?user=ann")
    assert response.text == "/stream ann 1;/stream ann 2;/stream ann 3;"
    assert "content-length" not in response.headers
    assert trail == ["before", True, "closed", ("teardown", type(None))]


@pytest.mark.parametrize(
    "hooked",
    [
        True,
        pytest.param(
            False,
            marks=pytest.mark.skipif(
                Version(version("flask")) < Version("3.1.2"), reason="stream_with_context of older Flask wants hooks"
            ),
        ),
    ],
)
async def test_a_stream_of_flask_s_goes_out_part_by_part_and_is_closed_where_its_client_leaves(hooked: bool) -> None:
    trail: list[Any] = []
    world = with_connections(trail)

    def view() -> FlaskResponse:
        def lines() -> Iterator[str]:
            yield f"{flask.request.path};"
            while True:  # for ever, and without an end the body as a whole never would be there
                yield "again;"

        response = FlaskResponse(flask.stream_with_context(lines()))
        response.call_on_close(lambda: trail.append("closed"))
        return response

    streaming_view(world, view, hooked=hooked)
    visit = Conversation(part(b""), path="/stream")
    task = asyncio.create_task(visit.ask(world.asgi()))
    await until_true(visit.began.is_set, 30)
    assert visit.sent[1]["body"] == b"/stream;"
    task.cancel()
    await asyncio.wait([task])
    await until_true(lambda: "closed" in trail, 30)
    await until_true(lambda: world.pool.stats().busy == 0, 30)
    assert world.threads.streams == 0


@pytest.mark.parametrize("hooked", [True, False])
@pytest.mark.parametrize("body", ["whole", ["in ", "parts"]])
async def test_a_phrase_of_a_response_of_flask_s_goes_along(hooked: bool, body: Any) -> None:
    world = with_connections([])
    seen: list[str] = []

    @world.app.after_request
    def see(response: FlaskResponse) -> FlaskResponse:
        seen.append(response.status)
        return response

    streaming_view(world, lambda: FlaskResponse(body, "299 Odd Reason"), hooked=hooked)
    visit = await Conversation(part(b""), path="/stream").ask(world.asgi())
    assert (visit.sent[0]["status"], visit.sent[0]["reason"]) == (299, b"Odd Reason")
    assert seen == ["299 Odd Reason"] * hooked


@pytest.mark.parametrize(
    ("native", "changed", "sent"),
    [
        ("299 Odd Reason", "404 Gone For Good", b"Gone For Good"),
        ("299 Odd Reason", "200 OK", None),
        ("404 Not Found", None, None),  # Starlette's own, which stays as it is
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_phrase_is_that_of_the_status_that_the_hooks_leave(
    streamed: bool, native: str, changed: str | None, sent: bytes | None
) -> None:
    app = make_app()

    @app.after_request
    def change(response: FlaskResponse) -> FlaskResponse:
        if changed is not None:
            response.status = changed
        return response

    world = add_both(app, "/twice")

    @world.native("/page")
    async def page(request: Request) -> Response:
        if changed is None:
            return StreamingResponse(iter(["a"]), 404) if streamed else PlainTextResponse("a", 404)
        return cast(Response, FlaskResponse(iter(["a"]) if streamed else "a", native))

    visit = await Conversation(part(b""), path="/page").ask(world.asgi())
    assert visit.sent[0].get("reason") == sent
    assert visit.sent[0]["status"] == int((changed or native)[:3])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_a_native_route_sends_by_flask_goes_out_in_parts(method: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    world = with_connections([])
    streaming_view(world, lambda: flask.send_file(path, mimetype="text/plain"))
    visit = await Conversation(part(b""), path="/stream", method=method).ask(world.asgi())
    bodies = [message["body"] for message in visit.sent[1:]]
    assert (b"content-length", b"1000000") in visit.sent[0]["headers"]
    assert sum(map(len, bodies)) == (1_000_000 if method == "GET" else 0)
    assert len(bodies) > 4 or method == "HEAD"


@pytest.mark.parametrize("handler", [None, Exception, LookupError, 500])
async def test_teardown_functions_are_told_of_what_no_handler_took_as_in_flask(handler: Any) -> None:
    torn: list[Any] = []
    app = make_app()
    app.teardown_request(lambda error: torn.append(type(error)))
    if handler is not None:
        app.register_error_handler(handler, lambda error: ("told", 500))

    @app.get("/page")
    def page() -> str:
        raise LookupError

    world = World(app)

    @world.native("/native")
    async def native(request: Request) -> Response:
        raise LookupError

    assert app.test_client().get("/page").status_code == 500
    assert (await answer(world, "/native")).status_code == 500
    assert torn[0] == torn[1] == (type(None) if handler in (Exception, LookupError) else LookupError)


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_stream_that_breaks_or_whose_client_leaves_gives_its_context_back(keeps: bool) -> None:
    trail: list[Any] = []
    world = with_connections(trail)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        legacy = request.state.legacy

        async def body() -> AsyncIterator[str]:
            yield await legacy.run(request, ask)
            if "breaks" in request.query_params:
                raise LookupError
            await asyncio.sleep(1000)

        parts = body()
        return StreamingResponse(legacy.stream_with_context(request, parts) if keeps else parts)

    with pytest.raises(LookupError):
        await answer(world, "/stream?breaks")
    assert trail == [
        "before",
        *([] if keeps else [("teardown", type(None)), "before"]),
        ("teardown", LookupError),
        PAGE,
    ]
    trail.clear()
    visit = Conversation(part(b""), path="/stream")
    task = asyncio.create_task(visit.ask(world.asgi()))
    await until_true(visit.began.is_set, 30)
    assert world.threads.streams == 1
    visit.leave()
    await task
    assert world.threads.streams == 0
    assert trail == ["before", *([] if keeps else [("teardown", type(None)), "before"]), ("teardown", type(None))]
    await until_true(lambda: world.pool.stats().busy == 0, 30)


async def test_a_stream_that_the_before_request_functions_turn_away_says_so() -> None:
    trail: list[Any] = []
    world = with_connections(trail)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield await request.state.legacy.run(request, ask)

        return StreamingResponse(body())

    with pytest.raises(RuntimeError, match=r"stream of GET '/stream'.*answered 401.*stream_with_context"):
        await answer(world, "/stream?once")
    assert world.threads.streams == 0


async def test_streams_above_the_limit_keep_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "STREAMS", 0)
    trail: list[Any] = []
    world = with_connections(trail)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "without"
            if "ask" in request.query_params:
                yield await request.state.legacy.run(request, ask)

        return StreamingResponse(request.state.legacy.stream_with_context(request, body()))

    assert (await answer(world, "/stream")).text == "without"
    with pytest.raises(PoolFull, match="0 streams at once"):
        await answer(world, "/stream?ask")
