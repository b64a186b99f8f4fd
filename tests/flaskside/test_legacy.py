from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import flask
import httpx2 as httpx
import pytest
import sqlalchemy
from flask import Blueprint, Flask, g
from flask_sqlalchemy import SQLAlchemy
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Message

from graft.errors import LegacyAppError
from graft.flaskside.flask_private import streams_anywhere
from graft.flaskside.legacy import Legacy
from graft.settings import LegacyLoop
from graft.threads.executor import LegacyExecutor
from graft.threads.pool import Pool
from tests.bridge.wire import Conversation, until_true
from tests.bridge.wire import request as part
from tests.flaskside.native import World
from tests.parts import postgres

marker: ContextVar[str] = ContextVar("marker", default="unset")


def make_app(**config: Any) -> Flask:
    app = Flask(__name__, template_folder=None)
    app.config.update(SECRET_KEY="key", **config)
    app.jinja_loader = __import__("jinja2").DictLoader(
        {
            "page.html": "{{ site }} {{ name|shout }} {{ url_for('shop.item', n=3) }} {{ request.path }}"
            "{% for message in get_flashed_messages() %} [{{ message }}]{% endfor %} {{ extra }}",
        }
    )
    app.context_processor(lambda: {"site": "Shop"})
    app.add_template_filter(str.upper, "shout")
    shop = Blueprint("shop", __name__, url_prefix="/shop")

    @shop.get("/<int:n>")
    def item(n: int) -> Any:
        return flask.render_template("page.html", name="legacy", extra=n)

    @shop.get("/urls")
    def urls() -> Any:
        return [flask.url_for(*args, **values) for args, values in URLS]

    app.register_blueprint(shop)
    app.add_url_rule("/flash", "flash", lambda: flask.flash("saved") or "flashed")
    return app


URLS: list[tuple[tuple[str], dict[str, Any]]] = [
    (("shop.item",), {"n": 3}),
    (("shop.item",), {"n": 3, "_external": True}),
    ((".item",), {"n": 4}),
    (("shop.item",), {"n": 3, "_external": True, "_scheme": "ftp"}),
    (("shop.item",), {"n": 3, "q": "a b/ü", "_anchor": "x"}),
    (("static",), {"filename": "a.css"}),
]


def make_world(app: Flask, **settings: Any) -> World:
    world = World(app, **settings)

    @world.native(f"{world.prefix}/shop/{{n:int}}")
    async def item(request: Request) -> Response:
        response: Response = await request.state.legacy.render(
            request, "page.html", name="legacy", extra=request.path_params["n"]
        )
        return response

    @world.native(f"{world.prefix}/shop/urls")
    async def urls(request: Request) -> Response:
        return JSONResponse([request.state.legacy.url_for(request, *args, **values) for args, values in URLS])

    return world


@pytest.mark.parametrize("hooked", [True, False])
async def test_render_gives_the_page_that_flask_gives(hooked: bool) -> None:
    app = make_app()
    if hooked:
        app.before_request(lambda: None)
    flasks = app.test_client()
    flasks.get("/flash")
    expected = flasks.get("/shop/3")
    async with make_world(app).client() as client:
        await client.get("/flash")
        response = await client.get("/shop/3")
        assert response.text == expected.text
        assert "[saved]" in response.text
        assert response.headers["content-type"] == expected.headers["Content-Type"]
        assert "[saved]" not in (await client.get("/shop/3")).text


@pytest.mark.parametrize("hooked", [True, False])
@pytest.mark.parametrize("root_path", ["", "/app"])
async def test_url_for_gives_what_flask_gives(root_path: str, hooked: bool) -> None:
    app = make_app()
    if hooked:
        app.after_request(lambda response: response)
    expected = app.test_client().get("/shop/urls", base_url=f"https://shop.example:8443{root_path}").get_json()
    transport = httpx.ASGITransport(make_world(app).asgi(), root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example:8443") as client:
        assert (await client.get(f"{root_path}/shop/urls")).json() == expected


async def test_below_a_prefix_urls_and_rules_are_those_of_the_mounted_app() -> None:
    app = make_app()
    seen: list[Any] = []
    app.before_request(lambda: seen.append((flask.request.endpoint, flask.request.script_root)))
    world = make_world(app, prefix="/old")

    @world.native("/shop/{n:int}")
    async def outside(request: Request) -> Response:
        return PlainTextResponse(request.state.legacy.url_for(request, "shop.item", n=5))

    async with world.client() as client:
        assert " /old/shop/3 " in (await client.get("/old/shop/3")).text
        assert (await client.get("/old/shop/urls")).json()[2] == "/old/shop/4"
        assert (await client.get("/shop/3")).text == "/old/shop/5"
    endpoints, roots = zip(*seen, strict=True)
    assert endpoints[:2] == ("shop.item", "shop.urls")
    assert endpoints[2].startswith("native:")  # /shop/3 is no rule of the app, though it has one below its prefix
    assert set(roots) == {"/old"}


async def test_url_defaults_of_the_app_apply() -> None:
    app = make_app()
    app.url_defaults(lambda endpoint, values: values.setdefault("lang", g.get("lang", "en")))
    app.before_request(lambda: setattr(g, "lang", "de"))
    async with make_world(app).client() as client:
        assert (await client.get("/shop/urls")).json()[0] == "/shop/3?lang=de"


async def test_inside_a_native_mount_the_apps_root_is_still_the_root() -> None:
    app = make_app()
    world = make_world(app)

    async def inner(request: Request) -> Response:
        return PlainTextResponse(request.state.legacy.url_for(request, "shop.item", n=1))

    world.routes.append(Mount("/v2", routes=[Route("/inner", inner)]))
    async with world.client() as client:
        assert (await client.get("/v2/inner")).text == "/shop/1"


@pytest.mark.parametrize(
    "data", [{"b": 1, "a": "ü", "when": __import__("datetime").date(2026, 1, 2)}, [1, 2], "text", None]
)
async def test_json_has_the_bytes_and_headers_of_jsonify(data: Any) -> None:
    app = make_app()
    app.add_url_rule("/json", "json", lambda: flask.jsonify(data))
    world = World(app)

    @world.native("/native")
    async def native(request: Request) -> Response:
        response: Response = request.state.legacy.json(data)
        return response

    expected = app.test_client().get("/json")
    async with world.client() as client:
        found = await client.get("/native")
    assert found.content == expected.data
    assert {name: found.headers[name] for name in ("content-type", "content-length")} == {
        "content-type": expected.headers["Content-Type"],
        "content-length": expected.headers["Content-Length"],
    }


async def running(world: World, fn: Any, *args: Any, hooked: bool = True, method: str = "GET", **settings: Any) -> Any:
    """The JSON of what ``fn`` gives in ``legacy.run`` inside a native route."""

    @world.native("/run", (method,), hooked=hooked)
    async def run(request: Request) -> Response:
        return JSONResponse(await request.state.legacy.run(request, fn, *args))

    async with world.client() as client:
        return (await client.request(method, "/run?q=1", **settings)).json()


async def test_run_has_request_g_session_and_the_callers_contextvars_in_a_legacy_thread() -> None:
    def look(word: str) -> list[Any]:
        g.x = 1
        return [word, flask.request.args["q"], flask.session.get("user"), threading.current_thread().name[:6]]

    assert await running(World(make_app()), look, "word") == ["word", "1", None, "legacy"]

    def mark() -> str:
        return marker.get()

    marker.set("set outside")
    assert await running(World(make_app()), mark) == "set outside"


async def test_run_takes_async_functions() -> None:
    async def look() -> str:
        await asyncio.sleep(0)
        return flask.request.path

    assert await running(World(make_app()), look) == "/run"


async def test_what_run_changes_in_the_session_is_saved() -> None:
    world = World(make_app())

    def change() -> None:
        flask.session["user"] = "Ada"

    @world.native("/change")
    async def change_(request: Request) -> Response:
        await request.state.legacy.run(request, change)
        return PlainTextResponse(request.session["user"])

    async with world.client() as client:
        assert (await client.get("/change")).text == "Ada"
        assert "session" in client.cookies


async def test_each_run_without_hooks_is_torn_down_and_runs_side_by_side() -> None:
    app = make_app()
    torn: list[Any] = []
    app.teardown_appcontext(lambda error: torn.append(type(error)))
    world = World(app)
    meet = threading.Barrier(2, timeout=5)

    def fail() -> None:
        raise LookupError

    @world.native("/two")
    async def two(request: Request) -> Response:
        legacy = request.state.legacy
        await asyncio.gather(legacy.run(request, meet.wait), legacy.run(request, meet.wait))
        with pytest.raises(LookupError):
            await legacy.run(request, fail)
        return PlainTextResponse(str(len(torn)))

    async with world.client() as client:
        assert (await client.get("/two")).text == "3"
    assert torn == [type(None), type(None), LookupError]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_that_may_have_written_is_not_refused_for_want_of_a_thread(method: str) -> None:
    gate = threading.Event()
    app = make_app()
    app.add_url_rule("/held", "held", lambda: str(gate.wait(20)))
    world = World(app, threads=1, queue=0)
    written: list[str] = []

    @world.native("/order", (method,))
    async def order(request: Request) -> Response:
        written.append("an order")
        return PlainTextResponse(await request.state.legacy.run(request, lambda: "confirmed"))

    async with world.client() as client:
        held = asyncio.create_task(client.get("/held"))
        await until_true(lambda: world.pool.stats().busy == 1)
        answer = await client.request(method, "/order")
        gate.set()
        await held
    assert written == ["an order"]
    assert (answer.status_code, answer.text) == (200, "confirmed") if method == "POST" else answer.status_code == 503


@pytest.mark.parametrize("kind", ["awaited", "waited for"])
async def test_a_run_inside_a_run_without_hooks_waits_for_no_thread_of_the_first_ones(kind: str) -> None:
    app = make_app()
    world = World(app, threads=1, queue=1)
    loop = asyncio.get_running_loop()

    @world.native("/nested")
    async def nested(request: Request) -> Response:
        run = request.state.legacy.run

        def look() -> str:
            return flask.request.path

        def wait() -> str:
            return str(asyncio.run_coroutine_threadsafe(run(request, look), loop).result(30))

        async def ask() -> str:
            return str(await run(request, look))

        return PlainTextResponse(await run(request, ask if kind == "awaited" else wait))

    async with world.client() as client:
        answers = await asyncio.gather(client.get("/nested"), client.get("/nested"))
    assert [answer.text for answer in answers] == ["/nested", "/nested"]
    await world.mount.aclose()


async def test_runs_behind_hooks_take_turns_in_one_context() -> None:
    app = make_app()
    app.before_request(lambda: setattr(g, "count", 0))
    torn: list[Any] = []
    app.teardown_appcontext(torn.append)
    app.add_url_rule("/many", "many", lambda: "")
    world = World(app)

    def step() -> int:
        seen = g.count
        threading.Event().wait(0.002)
        g.count = seen + 1
        return int(g.count)

    @world.native("/many")
    async def many(request: Request) -> Response:
        steps = await asyncio.gather(*(request.state.legacy.run(request, step) for _ in range(5)))
        assert not torn
        return JSONResponse(sorted(steps))

    async with world.client() as client:
        assert (await client.get("/many")).json() == [1, 2, 3, 4, 5]
    assert torn == [None]


@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize("hooked", [True, False])
async def test_a_function_that_reads_the_form_finds_it_also_after_the_native_route_has(
    read_first: bool, hooked: bool
) -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/form", "form", lambda: "", methods=["POST"])
    world = World(app)

    @world.native("/form", ("POST",), hooked=hooked)
    async def form(request: Request) -> Response:
        if read_first:
            await request.body()
        said = await request.state.legacy.run(request, lambda: flask.request.form["a"])
        return JSONResponse([said, (await request.form())["a"]])

    async with world.client() as client:
        assert (await client.post("/form", data={"a": "b"})).json() == ["b", "b"]


@pytest.mark.parametrize("hooked", [True, False])
@pytest.mark.parametrize("size", [5, 300_000, 20_000_000])
@pytest.mark.parametrize("chunked", [True, False])
async def test_flask_gets_the_whole_body_after_the_native_route_has_read_or_streamed_it(
    size: int, hooked: bool, chunked: bool
) -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/upload", "upload", lambda: "", methods=["POST"])
    world = World(app)
    content = bytes(range(250)) * (size // 250) + b"x" * (size % 250)

    @world.native("/upload", ("POST",), hooked=hooked)
    async def upload(request: Request) -> Response:
        read = b"".join([part async for part in request.stream()])
        seen = await request.state.legacy.run(request, lambda: flask.request.get_data() == content)
        again = await request.state.legacy.run(request, lambda: len(flask.request.get_data()))
        return JSONResponse([read == content, seen, again])

    async def segments() -> AsyncIterator[bytes]:
        for start in range(0, size, 70_000):
            yield content[start : start + 70_000]

    async with world.client() as client:
        answer = await client.post("/upload", content=segments() if chunked else content)
        assert answer.json() == [True, True, size]


@pytest.mark.parametrize("hooked", [True, False])
async def test_flask_finds_the_form_that_the_native_route_has_parsed(hooked: bool) -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/form", "form", lambda: "", methods=["POST"])
    world = World(app)

    def look() -> list[Any]:
        return [flask.request.form["a"], len(flask.request.files["f"].read())]

    @world.native("/form", ("POST",), hooked=hooked)
    async def form(request: Request) -> Response:
        async with request.form() as form:
            size = len(await form["f"].read())
        return JSONResponse([*await request.state.legacy.run(request, look), size])

    async with world.client() as client:
        answer = await client.post("/form", data={"a": "b"}, files={"f": ("f.bin", b"x" * 3_000_000)})
        assert answer.json() == ["b", 3_000_000, 3_000_000]


@pytest.mark.parametrize("hooked", [True, False])
@pytest.mark.parametrize("reader", ["native", "legacy.run"])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_above_the_limit_is_413_whoever_reads_it(reader: str, hooked: bool, chunked: bool) -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/upload", "upload", lambda: "", methods=["POST"])
    world = World(app, max_body=100_000)

    @world.native("/upload", ("POST",), hooked=hooked)
    async def upload(request: Request) -> Response:
        if reader == "native":
            return PlainTextResponse(str(len(await request.body())))
        return JSONResponse(await request.state.legacy.run(request, lambda: len(flask.request.get_data())))

    async def segments(size: int) -> AsyncIterator[bytes]:
        for _ in range(0, size, 50_000):
            yield b"x" * 50_000

    async with world.client() as client:
        for size, status in ((100_000, 200), (150_000, 413)):
            answer = await client.post("/upload", content=segments(size) if chunked else b"x" * size)
            assert answer.status_code == status, answer.text


async def test_run_after_the_response_has_a_context_of_its_own() -> None:
    from starlette.background import BackgroundTask

    app = make_app()
    app.before_request(lambda: setattr(g, "hooked", True))
    app.add_url_rule("/later", "later", lambda: "")
    world = World(app)
    found: list[Any] = []

    @world.native("/later")
    async def later(request: Request) -> Response:
        async def task() -> None:
            found.append(await request.state.legacy.run(request, lambda: (flask.request.path, "hooked" in g)))

        return PlainTextResponse("ok", background=BackgroundTask(task))

    async with world.client() as client:
        await client.get("/later")
    assert found == [("/later", False)]


async def test_beside_a_wsgi_app_that_is_not_flask_run_works_and_the_rest_says_why_not() -> None:
    legacy = Legacy(None, LegacyExecutor(Pool()))
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    assert (await legacy.run(request, threading.current_thread)).name.startswith("pool")
    for call in (lambda: legacy.url_for(request, "x"), lambda: legacy.json({})):
        with pytest.raises(LegacyAppError, match=r"GRAFT_LEGACY.*not a Flask app.*legacy\.run works"):
            call()
    with pytest.raises(LegacyAppError, match=r"legacy\.render"):
        await legacy.render(request, "page.html")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres.running(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def with_database(url: str, *, hooks: bool) -> tuple[World, SQLAlchemy]:
    app = make_app(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS={"pool_size": 2, "max_overflow": 0, "pool_timeout": 20},
    )
    db = SQLAlchemy()

    class Visit(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)
        side = db.Column(db.String)

    db.init_app(app)
    with app.app_context():
        db.drop_all()
        db.create_all()

    def add(side: str) -> int:
        db.session.add(Visit(side=side))
        db.session.flush()
        if flask.request.args.get("n", type=int, default=0) % 10 == 9:
            raise flask.abort(409)
        db.session.commit()
        return int(db.session.query(Visit).count())  # a new transaction, left to the teardown

    if hooks:

        @app.before_request
        def who() -> None:
            g.visits = db.session.query(Visit).limit(1).all()

    app.add_url_rule("/legacy", "legacy", lambda: str(add("legacy")))
    app.add_url_rule("/native", "native", lambda: "")
    world = World(app, threads=8, queue=1000)

    @world.native("/native")
    async def native(request: Request) -> Response:
        count = await request.state.legacy.run(request, add, "native")
        await asyncio.sleep(0)
        return PlainTextResponse(str(count))

    return world, db


@pytest.mark.parametrize("hooks", [True, False], ids=["behind hooks", "without hooks"])
@pytest.mark.parametrize("engine", ["postgres", "sqlite"])
async def test_500_requests_over_a_pool_of_2_leave_no_connection_behind(
    engine: str, hooks: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("database") if engine == "postgres" else f"sqlite:///{tmp_path}/db.sqlite"
    world, db = with_database(url, hooks=hooks)
    async with world.client() as client:

        async def one(n: int) -> int:
            return (await client.get(f"{'/native' if n % 2 else '/legacy'}?n={n}")).status_code

        statuses = await asyncio.gather(*(one(n) for n in range(500)))
    assert statuses == [409 if n % 10 == 9 else 200 for n in range(500)]
    with world.app.app_context():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        with db.engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("select count(*) from visit")).scalar() == 450
            if engine == "postgres":
                idle = "select count(*) from pg_stat_activity where state like 'idle in transaction%'"
                assert connection.execute(sqlalchemy.text(idle)).scalar() == 0
        db.engine.dispose()


@pytest.mark.parametrize("loop", [LegacyLoop.REQUEST, LegacyLoop.OWN])
async def test_a_run_inside_a_run_behind_hooks_runs_at_once_in_the_same_thread(loop: LegacyLoop) -> None:
    app = make_app()
    app.before_request(lambda: setattr(g, "thread", threading.get_ident()))
    app.add_url_rule("/nested", "nested", lambda: "")
    world = World(app, loop=loop)

    @world.native("/nested")
    async def nested(request: Request) -> Response:
        run = request.state.legacy.run

        async def innermost(word: str) -> list[Any]:
            await asyncio.sleep(0)
            return [word, flask.request.path]

        async def inner() -> list[Any]:
            return [await run(request, lambda: g.thread == threading.get_ident()), await run(request, innermost, "in")]

        async with asyncio.timeout(30):
            return JSONResponse(await run(request, inner))

    async with world.client() as client:
        assert (await client.get("/nested")).json() == [True, ["in", "/nested"]]
    await world.mount.aclose()  # ends the loops that wait for the next request


async def test_a_run_that_another_run_of_its_request_waits_for_on_the_loop_says_so() -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.add_url_rule("/nested", "nested", lambda: "")
    world = World(app)
    loop = asyncio.get_running_loop()

    @world.native("/nested")
    async def nested(request: Request) -> Response:
        def call() -> str:
            inner = request.state.legacy.run(request, lambda: "never")
            return str(asyncio.run_coroutine_threadsafe(inner, loop).result(30))

        with pytest.raises(RuntimeError, match="same request, whose thread waits for it"):
            await request.state.legacy.run(request, call)
        return PlainTextResponse(await request.state.legacy.run(request, lambda: "and goes on"))

    async with world.client() as client:
        assert (await client.get("/nested")).text == "and goes on"


@pytest.mark.parametrize(
    "hooked",
    [True, pytest.param(False, marks=pytest.mark.skipif(not streams_anywhere(), reason="Flask before 3.1.2"))],
)
async def test_the_twin_of_a_view_that_streams_sends_each_part_as_it_is_made(hooked: bool) -> None:
    taken, closed = threading.Semaphore(0), threading.Event()
    app = make_app()

    @app.get("/stream/<name>")
    def stream(name: str) -> flask.Response:
        def parts() -> Iterator[str]:
            for number in range(3):
                yield f"{name} {number};"
                assert taken.acquire(timeout=30), "the part before was not sent"

        response = flask.Response(parts(), mimetype="text/plain", headers={"X-From": flask.request.path})
        response.call_on_close(closed.set)
        return response

    if hooked:
        app.before_request(lambda: None)
    world = World(app)

    @world.native("/stream/{name}", hooked=hooked)
    async def twin(request: Request) -> Response:
        made: Response = await request.state.legacy.view(request)
        return made

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body"):
            taken.release()

    visit = Conversation(part(b""), path="/stream/ann")
    await world.asgi()(visit.scope, visit.receive, send)
    assert [message["body"] for message in sent[1:]] == [b"ann 0;", b"ann 1;", b"ann 2;", b""]
    assert (b"x-from", b"/stream/ann") in sent[0]["headers"]
    assert closed.is_set()


async def test_the_twin_of_a_view_that_streams_is_whole_where_its_body_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    app = make_app()
    app.add_url_rule("/stream", "stream", lambda: flask.Response(iter(["a", "b"])))
    app.add_url_rule("/file", "file", lambda: flask.send_file(tmp_path / "small"))
    world = World(app)

    @world.native("/stream")
    async def stream(request: Request) -> Response:
        return Response((await request.state.legacy.view(request, whole=True)).body + b"c")

    @world.native("/file")
    async def file(request: Request) -> Response:
        return Response((await request.state.legacy.view(request)).body)

    async with world.client() as client:
        assert (await client.get("/stream")).text == "abc"
        assert (await client.get("/file")).text == "small"
