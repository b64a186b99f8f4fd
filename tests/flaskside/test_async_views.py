"""Flask's coroutine views under the mount."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy
from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from flask import Blueprint, Flask, current_app, g, request, session
from sqlalchemy.orm import declarative_base, scoped_session, sessionmaker
from werkzeug.local import LocalProxy
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from graft.bridge.mount import LegacyMount
from graft.bridge.wsgi_call import WSGICall
from graft.flaskside import coroutines
from graft.flaskside.async_clients import is_client
from graft.flaskside.async_views import AsyncViews
from graft.flaskside.coroutines import RequestLoopCall, ServerLoopCall, SharedLoopCall
from graft.settings import LegacyLoop
from tests.bridge.test_wsgi_call import mounted
from tests.bridge.wire import Conversation, serving, talk, until_true
from tests.bridge.wire import get as http_get
from tests.bridge.wire import request as ask_body

EVERY_LOOP = pytest.mark.parametrize("loop", list(LegacyLoop))


def flask_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "secret"
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


async def got(mount: LegacyMount, path: str = "/", **scope: Any) -> str:
    return (await Conversation(path=path, **scope).ask(mount)).body.decode()


@asynccontextmanager
async def viewing(view: Callable[..., Any], *, workers: int = 2, **options: Any) -> AsyncIterator[LegacyMount]:
    app = flask_app()
    app.add_url_rule("/", "view", view, methods=["GET", "POST"])
    async with mounted(app, workers, **options) as mount:
        yield mount


async def test_an_async_view_runs_on_the_servers_loop() -> None:
    async def view() -> str:
        return str(asyncio.get_running_loop() is server)

    server = asyncio.get_running_loop()
    async with viewing(view, loop=LegacyLoop.SERVER) as mount:
        assert [await got(mount) for _ in range(3)] == ["True"] * 3


async def test_an_async_view_may_run_on_one_long_lived_loop_of_its_own() -> None:
    loops: list[Any] = []
    before = set(threading.enumerate())

    async def view() -> str:
        loops.append(asyncio.get_running_loop())
        return threading.current_thread().name

    async with viewing(view, loop=LegacyLoop.OWN) as mount:
        assert {await got(mount) for _ in range(3)} <= {"legacy-1", "legacy-2"}  # the request's own thread
        assert len(set(loops)) == 1
        assert loops[0] is not asyncio.get_running_loop()
    assert loops[0].is_closed()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "legacy-loop"]


class AsyncGlobalClient:
    """What a module-level async client is: bound to the loop of its first use."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.loop: Any = None

    async def get(self) -> str:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("Event loop is closed")
        async with self.lock:
            await asyncio.sleep(0.001)
        return "found"


@pytest.mark.parametrize("loop", [LegacyLoop.AUTO, LegacyLoop.OWN, LegacyLoop.SERVER])
async def test_a_module_level_client_lives_from_the_first_request_to_the_last(loop: LegacyLoop) -> None:
    client = AsyncGlobalClient()

    async def view() -> str:
        return await client.get()

    async with viewing(view, workers=4, loop=loop) as mount:
        answers = await asyncio.gather(*(got(mount) for _ in range(40)))
        assert set(answers) == {"found"}


@EVERY_LOOP
async def test_request_g_session_and_current_app_work_across_awaits(loop: LegacyLoop) -> None:
    app = flask_app()

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)
        g.before = "before"

    @app.get("/<name>")
    async def view(name: str) -> str:
        await asyncio.sleep(0.001)
        session["name"] = name
        g.name = name
        await asyncio.sleep(0.001)
        return f"{g.before} {g.name} {request.args['q']} {current_app.name == app.name} {session['name']}"

    @app.after_request
    async def after(response: Any) -> Any:
        await asyncio.sleep(0)
        response.headers["X-After"] = g.name
        return response

    async with mounted(app, 4, loop=loop) as mount:
        conversations = [Conversation(path=f"/{n}", query_string=b"q=%d" % n) for n in range(20)]
        await asyncio.gather(*(conversation.ask(mount) for conversation in conversations))
    for number, each in enumerate(conversations):
        assert each.body.decode() == f"before {number} {number} True {number}"
        assert each.headers["x-after"] == str(number)
        assert "session=" in each.headers["set-cookie"]


@EVERY_LOOP
async def test_context_variables_set_in_the_view_come_back(loop: LegacyLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    local = Local()
    app = flask_app()

    @app.get("/")
    async def view() -> str:
        assert variable.get() == "request"
        variable.set("view")
        local.value = "local"
        return "done"

    @app.after_request
    def after(response: Any) -> Any:
        response.headers["X-Seen"] = f"{variable.get()} {local.value}"
        return response

    variable.set("request")
    async with mounted(app, loop=loop) as mount:
        assert (await Conversation().ask(mount)).headers["x-seen"] == "view local"
    assert variable.get() == "request"


@EVERY_LOOP
async def test_an_exception_keeps_its_traceback(loop: LegacyLoop, caplog: pytest.LogCaptureFixture) -> None:
    async def deep() -> None:
        raise ValueError("boom")

    async def view() -> str:
        await asyncio.sleep(0)
        await deep()
        return "never"

    async with viewing(view, loop=loop) as mount:
        assert (await Conversation().ask(mount)).status == 500
    error = next(record.exc_info[1] for record in caplog.records if record.exc_info)
    assert isinstance(error, ValueError)
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-2:] == ["view", "deep"]


async def test_an_async_error_handler_sees_the_error_it_handles_and_teardown_runs() -> None:
    seen: list[Any] = []
    app = flask_app()

    @app.get("/")
    async def view() -> str:
        raise ValueError("boom")

    @app.errorhandler(ValueError)
    async def handle(error: ValueError) -> tuple[str, int]:
        await asyncio.sleep(0)
        seen.append(sys.exc_info()[1] is error)
        return "handled", 418

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        await asyncio.sleep(0)
        seen.append("teardown")

    async with mounted(app) as mount:
        assert (await Conversation().ask(mount)).status == 418
    assert seen == [True, "teardown"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_would_end_the_servers_loop_is_a_500(error: BaseException) -> None:
    async def view() -> str:
        raise error

    async with viewing(view, workers=1) as mount:
        for _ in range(2):
            assert (await Conversation().ask(mount)).status == 500


def requests_alive() -> int:
    calls = (WSGICall, RequestLoopCall, ServerLoopCall, SharedLoopCall)
    return sum(isinstance(each, calls) for each in gc.get_objects())


@EVERY_LOOP
async def test_a_request_leaves_nothing_for_the_garbage_collector(loop: LegacyLoop) -> None:
    async def view() -> str:
        await asyncio.sleep(0)
        return "hello"

    async with viewing(view, loop=loop) as mount:
        await got(mount)
        gc.collect()
        before = requests_alive()  # the logs of other tests hold some
        gc.disable()
        try:
            for _ in range(3):
                await got(mount)
            await until_true(lambda: requests_alive() <= before)
        finally:
            gc.enable()


async def test_views_whose_waits_end_together_all_go_on_in_their_own_threads() -> None:
    gate = asyncio.Event()
    answered: list[int] = []

    async def view() -> str:
        await gate.wait()
        return "hello"

    async with viewing(view, loop=LegacyLoop.SERVER) as mount:

        @mount.app.after_request  # type: ignore[attr-defined,untyped-decorator]
        def count(response: Any) -> Any:
            answered.append(threading.get_ident())
            return response

        asking = [asyncio.create_task(got(mount)) for _ in range(40)]
        await until_true(lambda: mount.pool.stats().parked == 40)
        gate.set()
        assert await asyncio.gather(*asking) == ["hello"] * 40
        assert len(set(answered)) == 40  # each in the thread it came from
        await until_true(lambda: mount.pool.stats().busy == 0)
        assert mount.pool.stats().parked == 0


async def test_views_that_wait_do_not_count_against_the_threads() -> None:
    waiting = 0
    gate = asyncio.Event()

    async def view() -> str:
        nonlocal waiting
        waiting += 1
        await gate.wait()
        return "done"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    app.get("/quick")(lambda: "quick")
    async with mounted(app, 2, queue=200, loop=LegacyLoop.SERVER) as mount:
        asking = [asyncio.create_task(got(mount)) for _ in range(100)]
        await until_true(lambda: waiting == 100)
        assert mount.pool.stats().parked == 100
        assert mount.pool.stats().busy == 0
        assert await got(mount, "/quick") == "quick"
        gate.set()
        assert await asyncio.gather(*asking) == ["done"] * 100


@EVERY_LOOP
async def test_async_views_that_wait_leave_their_threads_to_others_and_take_them_back(loop: LegacyLoop) -> None:
    gate = threading.Event()
    at_work: list[int] = []

    async def view() -> str:
        while not gate.is_set():
            await asyncio.sleep(0.01)
        await sync_to_async(lambda: at_work.append(mount.pool.stats().parked))()
        return "done"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    app.get("/quick")(lambda: "quick")
    async with mounted(app, 2, queue=100, loop=loop) as mount:
        asking = [asyncio.create_task(got(mount)) for _ in range(20)]
        await until_true(lambda: mount.pool.stats().parked == 20, 30)
        assert await got(mount, "/quick") == "quick"
        gate.set()
        assert await asyncio.gather(*asking) == ["done"] * 20
        assert max(at_work) < 20  # the one that asks does something
        await until_true(lambda: mount.pool.stats().busy == mount.pool.stats().parked == 0, 30)


async def test_only_so_many_requests_wait_beside_the_threads_with_loops_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has a second thread, and three file descriptors."""
    monkeypatch.setattr("graft.flaskside.request_loops.WAITING", 5)
    gate = threading.Event()
    waiting: list[int] = []

    async def view() -> str:
        waiting.append(1)
        while not gate.is_set():
            await asyncio.sleep(0.01)
        return "done"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    async with mounted(app, 2, queue=100, loop=LegacyLoop.REQUEST) as mount:
        asking = [asyncio.create_task(got(mount)) for _ in range(20)]
        await until_true(lambda: len(waiting) == 7, 30)
        await until_true(lambda: mount.pool.stats().parked == 5, 30)
        gate.set()
        assert await asyncio.gather(*asking) == ["done"] * 20


async def leaving(mount: LegacyMount, begun: asyncio.Event, method: str = "GET") -> None:
    """Ask, and leave when the view has begun."""
    conversation = Conversation(*([ask_body()] if method == "POST" else []), method=method)
    asking = asyncio.create_task(conversation.ask(mount))
    await asyncio.wait_for(begun.wait(), 5)
    conversation.leave()
    await asyncio.wait_for(asking, 5)
    assert conversation.sent == []


@pytest.fixture
def watched_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.bridge.exchange.WATCH_AFTER", 0.01)


@EVERY_LOOP
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.usefixtures("watched_soon")
async def test_a_view_and_its_teardown_run_to_their_end_when_the_client_leaves(loop: LegacyLoop, method: str) -> None:
    """As under gthread: what a GET fills, a cache or an audit row, is not left half done."""
    begun, steps = asyncio.Event(), list[Any]()
    server, go_on = asyncio.get_running_loop(), threading.Event()
    app = flask_app()

    @app.route("/", methods=["GET", "POST"])
    async def view() -> str:
        server.call_soon_threadsafe(begun.set)
        try:
            while not go_on.is_set():
                await asyncio.sleep(0.001)
            steps.append("done")
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        return "done"

    @app.teardown_request
    async def teardown(error: BaseException | None) -> None:
        await asyncio.sleep(0)
        steps.append(error)

    async with mounted(app, loop=loop) as mount:
        await leaving(mount, begun, method)
        go_on.set()
        await until_true(lambda: len(steps) == 2, 30)
        assert steps == ["done", None]
        await until_true(lambda: mount.pool.stats().parked == 0 and mount.pool.stats().busy == 0, 30)


@pytest.mark.usefixtures("watched_soon")
async def test_a_view_whose_client_has_left_is_ended_with_the_server_after_its_time_to_close() -> None:
    begun, steps = asyncio.Event(), list[str]()
    server = asyncio.get_running_loop()

    async def view() -> str:
        server.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(3600)
        finally:
            steps.append("ended")
        return "never"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    mount = LegacyMount(app, loop=LegacyLoop.OWN)
    await leaving(mount, begun)
    assert not await mount.aclose(0.1)
    await until_true(lambda: steps, 30)
    assert await mount.aclose(30)


async def test_a_cancelled_request_cancels_its_view() -> None:
    begun, ended = asyncio.Event(), threading.Event()

    async def view() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return "never"

    async with viewing(view) as mount:
        asking = asyncio.create_task(Conversation().ask(mount))
        await begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until_true(ended.is_set)


async def test_a_request_that_is_cancelled_before_its_view_begins_cancels_it_too() -> None:
    held, crossing = threading.Event(), threading.Event()

    async def view() -> str:
        await asyncio.sleep(60)
        return "never"

    app = flask_app()
    app.add_url_rule("/", "view", view)

    @app.before_request
    def before() -> None:
        crossing.set()
        held.wait(5)

    async with mounted(app, 1) as mount:
        asking = asyncio.create_task(Conversation().ask(mount))
        await until_true(crossing.is_set)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        held.set()
        await until_true(lambda: mount.pool.stats().busy + mount.pool.stats().parked == 0)


@EVERY_LOOP
async def test_a_view_that_takes_too_long_is_504_and_cancelled(loop: LegacyLoop) -> None:
    ended = threading.Event()

    async def view() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # its clean-up is not cancelled again
            ended.set()
            raise
        return "never"

    async with viewing(view, timeout=0.02, loop=loop) as mount:
        assert (await Conversation().ask(mount)).status == 504
        await until_true(ended.is_set, 30)


@EVERY_LOOP
async def test_ensure_sync_inside_an_async_view_raises_instead_of_waiting_for_itself(loop: LegacyLoop) -> None:
    async def inner() -> str:
        return "inner"

    async def view() -> str:
        answers = []
        for call in (current_app.ensure_sync(inner), async_to_sync(inner)):
            try:
                answers.append(call())
            except RuntimeError as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
        return answers[0]

    async with viewing(view, loop=loop) as mount:
        assert "You cannot use AsyncToSync in the same thread as an async event loop" in await got(mount)


@EVERY_LOOP
async def test_thread_sensitive_calls_run_in_the_requests_own_thread(loop: LegacyLoop) -> None:
    threads: list[str] = []

    def work() -> str:
        threads.append(threading.current_thread().name)
        return current_app.ensure_sync(deeper)()

    async def deeper() -> str:
        threads.append(threading.current_thread().name)
        return await sync_to_async(deepest)()

    def deepest() -> str:
        threads.append(threading.current_thread().name)
        return request.path

    async def view() -> str:
        with pytest.raises(ZeroDivisionError):
            await sync_to_async(divmod)(1, 0)
        return await sync_to_async(work)()

    async with viewing(view, workers=1, loop=loop) as mount:
        for _ in range(3):
            threads.clear()
            assert await got(mount) == "/"
            assert threads[0] == threads[2] == "legacy-1"
            assert (threads[1] == "legacy-1") == (mount.async_views.mode is LegacyLoop.OWN)


@EVERY_LOOP
async def test_calls_of_asgiref_nested_any_which_way_do_not_deadlock(loop: LegacyLoop) -> None:
    async def deepest() -> str:
        await asyncio.sleep(0)
        return "deep"

    async def view() -> str:
        first = await sync_to_async(async_to_sync(deepest))()
        second = await sync_to_async(async_to_sync(deepest), thread_sensitive=False)()
        third = await asyncio.gather(*(sync_to_async(async_to_sync(deepest))() for _ in range(5)))
        return " ".join([first, second, *third])

    async with viewing(view, workers=1, loop=loop) as mount:
        assert await asyncio.gather(*(got(mount) for _ in range(4))) == ["deep " * 6 + "deep"] * 4


async def test_async_to_sync_in_a_plain_view_still_works() -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "inner"

    async with viewing(async_to_sync(inner)) as mount:
        assert [await got(mount) for _ in range(3)] == ["inner"] * 3


async def test_a_task_that_outlives_its_request_gets_no_thread_of_it() -> None:
    raised: list[str] = []
    ended = asyncio.Event()

    async def late() -> None:
        await ended.wait()
        try:
            await sync_to_async(int)()
        except RuntimeError as error:
            raised.append(str(error))

    tasks: list[Any] = []

    async def view() -> str:
        tasks.append(asyncio.create_task(late()))
        return "done"

    async with viewing(view, loop=LegacyLoop.SERVER) as mount:
        assert await got(mount) == "done"
        ended.set()
        await tasks[0]
    assert raised == ["the request that this task came from has ended"]


async def test_a_view_that_holds_the_servers_loop_is_named_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coroutines, "HOLD", 0.02)

    async def greedy() -> str:
        await asyncio.sleep(0)
        time.sleep(0.03)  # noqa: ASYNC251
        return "at last"

    async def polite() -> str:
        await asyncio.sleep(0.03)
        return "soon"

    app = flask_app()
    app.add_url_rule("/greedy", "greedy", greedy)
    app.add_url_rule("/polite", "polite", polite)
    async with mounted(app, loop=LegacyLoop.SERVER) as mount:
        assert await got(mount, "/greedy") == "at last"
        assert await got(mount, "/polite") == "soon"
        (name,) = mount.async_views.holds
        assert name.endswith("greedy")
        assert mount.async_views.holds[name] == 1
    assert "greedy held the loop for " in caplog.text
    assert " ms without an await" in caplog.text
    assert "GRAFT_LEGACY_LOOP=own" in caplog.text


async def test_a_view_that_holds_the_servers_loop_is_named_with_its_place_while_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def greedy() -> str:
        end = time.monotonic() + 10
        while "holds the loop" not in caplog.text:  # it is the loop that stands still: only a thread can say so
            assert time.monotonic() < end
            time.sleep(0.01)  # noqa: ASYNC251
        return caplog.text

    async with viewing(greedy, loop=LegacyLoop.SERVER) as mount:
        told = await got(mount)
    assert re.search(
        r"greedy holds the loop for 1\.\d s by now, .*; it is in \S*test_async_views\.py:\d+, greedy", told
    )


async def test_a_view_that_blocks_on_the_own_loop_keeps_no_other_view_from_it() -> None:
    gate = threading.Event()
    begun = threading.Event()

    async def view() -> str:
        if request.args:
            begun.set()
            gate.wait(5)
        await asyncio.sleep(0.001)
        return "done"

    async with viewing(view, loop=LegacyLoop.OWN) as mount:
        blocked = asyncio.create_task(got(mount, query_string=b"block=yes"))
        await until_true(begun.is_set)
        assert [await got(mount) for _ in range(3)] == ["done"] * 3
        assert not blocked.done()
        gate.set()
        assert await blocked == "done"


async def test_closing_with_work_left_on_the_own_loop_cancels_it() -> None:
    ended = threading.Event()
    begun = threading.Event()

    async def background() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    tasks: list[Any] = []

    async def view() -> str:
        tasks.append(asyncio.create_task(background()))
        await until_true(begun.is_set)
        return "done"

    async with viewing(view, loop=LegacyLoop.OWN) as mount:
        assert await got(mount) == "done"
    assert ended.is_set()


async def test_a_view_on_the_own_loop_that_is_closed_under_it_is_a_500() -> None:
    begun = threading.Event()

    async def view() -> str:
        begun.set()
        await asyncio.sleep(60)
        return "never"

    async with viewing(view, loop=LegacyLoop.OWN) as mount:
        conversation = Conversation()
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(begun.is_set)
        mount.async_views.close(5)
        await asking
        assert conversation.status == 500


def test_a_server_that_ends_in_the_middle_of_a_view_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.threads.mailbox.PULSE", 0.01)
    begun = threading.Event()

    async def view() -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    app = flask_app()
    app.add_url_rule("/", "view", view, methods=["POST"])
    mount = LegacyMount(app, 1, loop=LegacyLoop.SERVER)
    loop = asyncio.new_event_loop()
    task = loop.create_task(Conversation(ask_body(), method="POST").ask(mount))
    loop.run_until_complete(until_true(begun.is_set))
    pending = asyncio.all_tasks(loop)
    loop.close()  # without a cancel, as a crash would
    assert mount.close(5)
    for each in {task, *pending}:
        each._log_destroy_pending = False  # type: ignore[attr-defined]
        each.get_coro().close()


async def test_blueprints_are_taken_over_too() -> None:
    blueprint = Blueprint("part", __name__)

    @blueprint.before_request
    async def before() -> None:
        g.loop = asyncio.get_running_loop()

    @blueprint.get("/part")
    async def part() -> str:
        return str(g.loop is asyncio.get_running_loop() is server)

    server = asyncio.get_running_loop()
    app = flask_app()
    app.register_blueprint(blueprint)
    async with mounted(app, loop=LegacyLoop.SERVER) as mount:
        assert await got(mount, "/part") == "True"


async def test_a_wrapped_apps_views_run_on_the_servers_loop() -> None:
    server = asyncio.get_running_loop()
    app = flask_app()
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]

    @app.get("/")
    async def view() -> str:
        return str(asyncio.get_running_loop() is server)

    async with mounted(DispatcherMiddleware(Flask("outer"), {"/in": app}), loop=LegacyLoop.SERVER) as mount:
        assert await got(mount, "/in/") == "True"


async def test_an_app_with_its_own_way_of_running_coroutines_keeps_it() -> None:
    class Own(Flask):
        def async_to_sync(self, func: Any) -> Any:
            return lambda: "its own way"

    app = Own(__name__)

    @app.get("/")
    async def view() -> str:
        return "ours"

    async with mounted(app) as mount:
        assert await got(mount) == "its own way"


def test_the_apps_own_tests_still_run_outside_of_the_mount() -> None:
    app = flask_app()

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return "tested"

    AsyncViews().install(app)
    assert app.test_client().get("/").text == "tested"


def test_many_async_views_at_once_over_a_socket() -> None:
    app = flask_app()

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0.05)
        return "done"

    from concurrent.futures import ThreadPoolExecutor

    started = time.monotonic()
    with serving(LegacyMount(app, 2)) as port, ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: talk(port, http_get("/")), range(40)))
        assert all(answer.endswith(b"done") for answer in answers)
        assert time.monotonic() - started < 40 * 0.05


@EVERY_LOOP
async def test_async_teardown_runs_to_its_end_after_a_504(loop: LegacyLoop) -> None:
    ended = threading.Event()
    app = flask_app()

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(60)
        return "never"

    @app.teardown_appcontext
    async def teardown(error: BaseException | None) -> None:
        await asyncio.sleep(0.01)
        ended.set()

    async with mounted(app, 1, timeout=0.05, loop=loop) as mount:
        assert (await Conversation().ask(mount)).status == 504
        await until_true(ended.is_set)


APART = pytest.mark.parametrize("loop", [LegacyLoop.AUTO, LegacyLoop.REQUEST, LegacyLoop.OWN])


@APART
async def test_a_lock_that_is_held_over_an_await_stops_nobody_but_those_who_want_it(loop: LegacyLoop) -> None:
    lock = threading.Lock()

    async def view() -> str:
        with lock:
            await asyncio.sleep(0.005)
        return "locked"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    app.add_url_rule("/free", "free", lambda: "free")
    async with mounted(app, 16, loop=loop) as mount:
        asking = [asyncio.create_task(got(mount)) for _ in range(20)]
        assert await got(mount, "/free") == "free"
        assert await asyncio.wait_for(asyncio.gather(*asking), 30) == ["locked"] * 20


@APART
async def test_a_scoped_session_is_one_requests_own(loop: LegacyLoop, tmp_path: Any) -> None:
    """A declined order is not stored, a paid one is not lost, and an error of one request is not the next one's."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=sqlalchemy.NullPool)
    Session = scoped_session(sessionmaker(engine))
    Base: Any = declarative_base()

    class Order(Base):
        __tablename__ = "orders"
        number = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)

    Base.metadata.create_all(engine)
    app = flask_app()
    app.teardown_appcontext(lambda error: Session.remove())

    @app.get("/<int:number>/<what>")
    async def order(number: int, what: str) -> str:
        Session.add(Order(number=number))
        await asyncio.sleep(0.05)
        if what == "declined":
            return "declined"  # nobody commits
        Session.commit()
        return "paid"

    async with mounted(app, 16, loop=loop) as mount:
        paths = [f"/{number}/{'paid' if number % 8 == 0 else 'declined'}" for number in range(1, 33)]
        answers = await asyncio.gather(*(got(mount, path) for path in paths))
        assert answers == [path.rpartition("/")[2] for path in paths]
        twice = Conversation(path="/8/paid")
        await twice.ask(mount)
        assert twice.status == 500
        assert await got(mount, "/1001/paid") == "paid"
    with engine.connect() as connection:
        assert list(connection.scalars(sqlalchemy.select(Order.number).order_by(Order.number))) == [8, 16, 24, 32, 1001]
    engine.dispose()


@APART
async def test_a_pool_of_database_connections_smaller_than_the_requests_answers_all(loop: LegacyLoop) -> None:
    """The default pool of SQLAlchemy (5 + 10) under twenty views that hold a connection over an await."""
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.QueuePool, connect_args={"check_same_thread": False}
    )

    async def view() -> str:
        with engine.connect() as connection:
            await asyncio.sleep(0.05)
            return str(connection.scalar(sqlalchemy.text("select 7")))

    async with viewing(view, workers=16, loop=loop) as mount:
        assert await asyncio.gather(*(got(mount) for _ in range(20))) == ["7"] * 20
    engine.dispose()


@EVERY_LOOP
async def test_an_async_view_reads_a_body_that_has_not_wholly_arrived(loop: LegacyLoop) -> None:
    """``get_data`` blocks its thread, which may not be the one that has to feed it."""
    body = bytes(range(256)) * 12_000  # 3 MB

    async def view() -> str:
        await asyncio.sleep(0)
        return str(len(request.get_data()))

    parts = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    messages = [ask_body(part, more=part is not parts[-1]) for part in parts]
    async with viewing(view, workers=1, loop=loop) as mount:
        conversation = Conversation(*messages, method="POST", headers=[("content-length", str(len(body)))])
        await asyncio.wait_for(conversation.ask(mount), 20)
        assert conversation.body == b"%d" % len(body)


async def test_an_app_that_leaves_a_connection_open_gets_one_loop_for_all_requests() -> None:
    """Its client is made in the first request, so nobody could find it before."""
    accepted: list[Any] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    connection: list[Any] = []

    async def view() -> str:
        if not connection:
            connection.extend(await asyncio.open_connection("127.0.0.1", port))
        reader, writer = connection
        async with lock:
            writer.write(b"over and over\n")
            await writer.drain()
            return (await reader.readline()).decode().strip()

    lock = asyncio.Lock()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with viewing(view, workers=8, loop=LegacyLoop.AUTO) as mount:
        if mount.async_views.mode is not LegacyLoop.AUTO:  # another test's client is still about
            mount.async_views.mode = LegacyLoop.AUTO
        assert await got(mount) == "over and over"
        assert await asyncio.gather(*(got(mount) for _ in range(50))) == ["over and over"] * 50
        assert len(accepted) == 1
        connection[1].close()
    server.close()


async def test_an_app_that_holds_an_async_client_gets_one_loop_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    class AsyncShopClient:
        async def get(self) -> str:
            return "found"

    app = flask_app()
    app.extensions["shop"] = AsyncShopClient()
    with caplog.at_level("INFO"):
        views = AsyncViews()
        views.install(app)
    assert views.mode is LegacyLoop.OWN
    assert "as the legacy app has async clients: " in caplog.text


@pytest.mark.parametrize("kind", [asyncio.Lock, dict, Flask, AsyncViews, type])
def test_what_only_sounds_like_an_async_client_is_none(kind: type) -> None:
    assert not is_client(kind)


def test_a_class_that_holds_a_proxy_of_flasks_is_looked_at_outside_of_requests() -> None:
    class View:
        user = LocalProxy(lambda: request.authorization)

        async def get(self) -> None: ...

    assert not is_client(View)


@pytest.mark.parametrize("loop", [LegacyLoop.REQUEST, LegacyLoop.AUTO, LegacyLoop.OWN])
async def test_a_view_that_finds_no_thread_for_its_loop_is_503_and_the_next_one_runs(
    loop: LegacyLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("legacy-") and thread.name != "legacy-async-view":
            start(thread)  # the request's own
        else:
            raise RuntimeError("can't start new thread")

    async def view() -> str:
        await asyncio.sleep(0)
        return "ran"

    async with viewing(view, loop=loop) as mount:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(3):
                answer = await Conversation(path="/").ask(mount)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert json.loads(answer.body)["error"]["code"] == "legacy_full"
        assert await got(mount) == "ran"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("loop", [LegacyLoop.AUTO, LegacyLoop.OWN])
async def test_calls_to_a_thread_in_a_view_wait_for_the_threads_there_are_else_503(
    loop: LegacyLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("asyncio"):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def view() -> str:
        if "warm" in request.args:
            await asyncio.to_thread(int)
            monkeypatch.setattr(threading.Thread, "start", refuse)
        return str(sum(await asyncio.gather(*(asyncio.to_thread(int, 2) for _ in range(20)))))

    async with viewing(view, loop=loop) as mount:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            answer = await Conversation(path="/").ask(mount)
            assert (answer.status, answer.headers.get("retry-after")) == (503, "1")
        answer = await Conversation(path="/", query_string=b"warm").ask(mount)
        monkeypatch.undo()
        assert (answer.status, answer.body) == (200, b"40")
    assert "Traceback" not in caplog.text


def test_libraries_alone_hold_no_async_client() -> None:
    """What Graft itself imports, and Gunicorn's master for all workers, leaves an app without clients without any."""
    probe = (
        "import graft.application\n"
        "from graft.preload import preload\n"
        "from graft.flaskside.async_clients import held_clients\n"
        "preload()\n"
        "print(sorted(set(held_clients())))"
    )
    told = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize(
    "value", [ModuleType("asyncpg"), ModuleType("redis.asyncio"), asyncio.Lock()], ids=["package", "module", "lock"]
)
def test_an_app_that_may_make_an_async_client_later_gets_one_loop_from_the_start(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first requests come at once: each would make the client on a loop of its own, and one of them would stay."""
    module = ModuleType("lazy_shop")
    module.value = value  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lazy_shop", module)
    views = AsyncViews()
    views.install(Flask("lazy_shop", root_path="/nowhere"))
    assert views.mode is LegacyLoop.OWN


@pytest.mark.parametrize("loop", [LegacyLoop.REQUEST, LegacyLoop.OWN])
async def test_a_generator_that_a_view_leaves_early_gives_back_what_it_holds_in_the_request_s_thread(
    loop: LegacyLoop,
) -> None:
    free = [1, 2, 3]
    threads: list[bool] = []
    given_back = threading.Event()

    async def rows(request_thread: int) -> AsyncIterator[int]:
        connection = free.pop()
        try:
            for row in range(10):
                yield row
        finally:
            await asyncio.sleep(0)  # a driver's ROLLBACK
            threads.append(threading.get_ident() == request_thread)
            free.append(connection)
            given_back.set()

    async def view() -> list[int]:
        async for _row in rows(threading.get_ident()):
            break
        async with asyncio.timeout(30):
            while not given_back.is_set():
                await asyncio.sleep(0.001)
        given_back.clear()
        return [_row, len(free)]

    async with viewing(view, loop=loop) as mount:
        assert [json.loads(await got(mount)) for _ in range(5)] == [[0, 3]] * 5
    assert threads == [True] * 5


async def test_what_a_view_sets_on_its_loop_is_gone_with_its_request() -> None:
    app = flask_app()

    @app.get("/set")
    async def change() -> str:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        loop.set_debug(True)
        loop.slow_callback_duration = 60
        return ""

    @app.get("/get")
    async def look() -> list[Any]:
        loop = asyncio.get_running_loop()
        return [loop.get_exception_handler(), loop.get_debug(), loop.slow_callback_duration]

    async with mounted(app, 2, loop=LegacyLoop.REQUEST) as mount:
        before = json.loads(await got(mount, "/get"))
        await got(mount, "/set")
        assert json.loads(await got(mount, "/get")) == before == [None, before[1], 0.1]
