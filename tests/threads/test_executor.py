"""Native routes beside a Flask app that hangs: GRAFT_LEGACY_TIMEOUT holds for hooks, sessions and ``legacy.run``."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import flask
import httpx2 as httpx
import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from graft.figures import runtime
from graft.flaskside.side import LegacySide
from graft.request_record import KEY, RequestRecord
from graft.settings import Settings
from graft.threads.executor import LegacyExecutor, LegacyTimeout, TimedCall
from graft.threads.pool import Pool, PoolFull
from graft.types import Side
from tests.bridge.wire import SlowUpload, until_true
from tests.flaskside.native import Endpoint, World

TIMEOUT = 0.1
SCOPE = {"type": "http", "method": "GET", "path": "/page"}


class Gate:
    """Where threads hang until ``open``."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.inside = 0

    def hang(self, *_: Any) -> None:
        self.inside += 1
        self._open.wait(20)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def make_app() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="key")
    app.add_url_rule("/page", "page", lambda: "page")
    return app


async def page(request: Request) -> Response:
    return PlainTextResponse("page")


def world_of(app: Flask, endpoint: Endpoint = page, *, threads: int = 4) -> World:
    world = World(app, timeout=TIMEOUT, threads=threads)
    world.native("/page")(endpoint)
    return world


async def answer(world: World, **settings: Any) -> httpx.Response:
    async with world.client() as client:
        return await client.get("/page", **settings)


def stuck(world: World) -> dict[str, int]:
    return {pool.name: pool.stats().stuck for pool in world.threads.pools if pool.stats().stuck}


def is_504(response: httpx.Response) -> bool:
    assert response.status_code == 504
    assert response.json()["error"] == {
        "code": "legacy_timeout",
        "message": "The application gave no answer within 0.1 seconds.",
        "request_id": response.headers["x-request-id"],
    }
    return True


async def test_a_before_request_function_that_hangs_gives_504_and_its_thread_counts_as_stuck_by_name(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    app, torn = make_app(), threading.Event()
    app.before_request(gate.hang)
    app.teardown_request(lambda error: torn.set())
    world = world_of(app)
    assert is_504(await answer(world))
    assert stuck(world) == {"legacy": 1}
    assert "the before_request functions of GET '/page' gave no answer within 0.1 s; it is in " in caplog.text
    assert "threading.py" in caplog.text
    assert not torn.is_set()
    gate.open()
    assert await asyncio.to_thread(torn.wait, 5)
    await until_true(lambda: not stuck(world))


async def test_a_browser_gets_the_504_as_a_page(gate: Gate) -> None:
    app = make_app()
    app.before_request(gate.hang)
    response = await answer(world_of(app), headers={"accept": "text/html"})
    assert (response.status_code, response.headers["content-type"]) == (504, "text/html; charset=utf-8")


async def test_an_after_request_function_that_hangs_gives_504_instead_of_the_native_answer(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    app, torn = make_app(), threading.Event()
    app.teardown_request(lambda error: torn.set())

    @app.after_request
    def hang(response: Any) -> Any:
        gate.hang()
        return response

    world = world_of(app)
    assert is_504(await answer(world))
    assert stuck(world) == {"legacy": 1}
    assert "the after_request functions of GET '/page' gave no answer" in caplog.text
    gate.open()
    assert await asyncio.to_thread(torn.wait, 5)


async def test_an_error_handler_that_hangs_gives_504(gate: Gate) -> None:
    app = make_app()
    app.before_request(lambda: None)
    app.register_error_handler(ZeroDivisionError, gate.hang)

    async def fails(request: Request) -> Response:
        raise ZeroDivisionError

    world = world_of(app, fails)
    assert is_504(await answer(world))
    assert stuck(world) == {"legacy": 1}


async def test_teardown_that_hangs_takes_back_no_answer_that_was_found_elsewhere(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    app.teardown_request(gate.hang)

    async def full(request: Request) -> Response:
        raise PoolFull

    world = world_of(app, full)
    assert (await answer(world)).status_code == 503
    assert stuck(world) == {"legacy": 1}
    assert "the teardown functions of GET '/page' gave no answer" in caplog.text


@pytest.mark.parametrize("hooked", [True, False])
async def test_a_function_that_hangs_in_legacy_run_is_given_up(
    hooked: bool, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    if hooked:
        app.before_request(lambda: None)

    async def asks(request: Request) -> Response:
        await request.state.legacy.run(request, gate.hang, 1)
        raise AssertionError

    world = world_of(app, asks)
    assert is_504(await answer(world))
    assert stuck(world) == {"legacy": 1}
    assert "legacy.run(tests.threads.test_executor.Gate.hang) of GET '/page' gave no answer within 0.1 s" in caplog.text


async def test_a_route_that_catches_the_timeout_can_answer_where_no_hooks_wait_behind_it(gate: Gate) -> None:
    async def asks(request: Request) -> Response:
        try:
            await request.state.legacy.run(request, gate.hang)
        except LegacyTimeout:
            return PlainTextResponse("without it")
        raise AssertionError

    assert (await answer(world_of(make_app(), asks))).text == "without it"
    app, torn = make_app(), threading.Event()
    app.teardown_request(lambda error: torn.set())
    world = world_of(app, asks)
    started = asyncio.get_running_loop().time()
    assert is_504(await answer(world))  # the hooks need the context that the thread still holds
    assert asyncio.get_running_loop().time() - started < 2 * TIMEOUT
    assert stuck(world) == {"legacy": 1}
    gate.open()
    assert await asyncio.to_thread(torn.wait, 5)


async def test_a_request_that_finds_no_thread_in_time_gets_504_and_its_hooks_never_run(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    app, ran = make_app(), []
    app.before_request(lambda: ran.append(1))
    world = world_of(app, threads=1)
    busy = asyncio.create_task(world.pool.run(gate.hang))
    await until_true(lambda: gate.inside)
    assert is_504(await answer(world))
    assert "the before_request functions of GET '/page' found no free thread within 0.1 s" in caplog.text
    await until_true(lambda: world.pool.stats().waiting == 0)
    gate.open()
    await busy
    assert (await answer(world)).text == "page"
    assert ran == [1]


async def test_a_session_store_that_hangs_gives_504(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Any) -> Any:
            gate.hang()
            return super().open_session(app, request)

    app = make_app()
    app.session_interface = Slow()
    world = world_of(app)
    assert is_504(await answer(world))
    assert stuck(world) == {"legacy": 1}
    assert "opening the session of GET '/page' gave no answer" in caplog.text


async def test_an_error_page_that_hangs_is_replaced_by_a_plain_one(gate: Gate) -> None:
    app = make_app()
    app.register_error_handler(ZeroDivisionError, gate.hang)

    async def fails(request: Request) -> Response:
        raise ZeroDivisionError

    world = world_of(app, fails)
    response = await answer(world)
    assert (response.status_code, stuck(world)) == (500, {"legacy": 1})


@pytest.mark.parametrize("hooked", [True, False])
async def test_the_time_of_an_upload_counts_for_nobody(hooked: bool) -> None:
    """Neither for a before_request function that reads it, nor for ``legacy.run``."""
    app = make_app()
    if hooked:
        app.before_request(lambda: flask.request.get_data() and None)

    async def endpoint(request: Request) -> Response:
        size = await request.state.legacy.run(request, lambda: len(flask.request.get_data()))
        return PlainTextResponse(str(size))

    world = World(app, timeout=TIMEOUT)
    world.native("/page", ("POST",))(endpoint)
    got = await SlowUpload(10, 64 * 1024, TIMEOUT / 2, "/page").ask(world.asgi())
    assert (got.status, got.body) == (200, b"655360")


async def test_a_timeout_of_the_function_itself_is_its_own() -> None:
    def fails() -> None:
        raise TimeoutError("the database")

    async def asks(request: Request) -> Response:
        try:
            await request.state.legacy.run(request, fails)
        except TimeoutError as error:
            return PlainTextResponse(str(error))
        raise AssertionError

    app = make_app()
    assert (await answer(world_of(app, asks))).text == "the database"
    app.before_request(lambda: None)
    world = world_of(app, asks)
    assert (await answer(world)).text == "the database"
    assert not stuck(world)


async def test_without_a_timeout_everything_may_take_its_time() -> None:
    threads = LegacyExecutor(Pool(1, 1, "patient"))
    assert await threads.run(SCOPE, "it", lambda: 7) == 7
    mirrored = {**SCOPE, KEY: RequestRecord.mirrored(Side.NATIVE)}
    assert await threads.run(mirrored, "it", lambda: threading.current_thread().name) == "patient-mirror-1"
    for pool in threads.pools:
        assert pool.close(5)


def test_a_call_that_was_given_up_before_a_thread_came_never_begins(caplog: pytest.LogCaptureFixture) -> None:
    call, ran = TimedCall(SCOPE, "it"), []
    assert isinstance(call.give_up(1), LegacyTimeout)
    with pytest.raises(LegacyTimeout):
        call.run(ran.append, 1)
    assert (ran, call.stuck) == ([], False)
    assert "it of GET '/page' found no free thread within 1 s" in caplog.text


# All of them together


@pytest.fixture
def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LegacySide:
    module = ModuleType("hanging_shop")
    module.app = make_app()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hanging_shop", module)
    return LegacySide(Settings.load(legacy="hanging_shop:app", data=tmp_path, legacy_timeout=TIMEOUT))


async def test_every_pool_is_measured_and_closed_with_the_worker(
    side: LegacySide, gate: Gate, metric: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "SAMPLE_SECONDS", 0.01)
    pools = {"legacy", "legacy-again", "legacy-mirror", "legacy-mirror-again"}
    before = set(threading.enumerate())

    def working() -> set[str]:
        return {thread.name.rpartition("-")[0] for thread in threading.enumerate() if thread not in before} & pools

    async with side.running():
        calls = [asyncio.create_task(pool.run(gate.hang)) for pool in side.threads.pools]
        for name in {*pools, "mirror"}:
            busy = 0 if name == "mirror" else 1
            await until_true(
                lambda name=name, busy=busy: metric("graft_legacy_threads", pool=name, state="busy") == busy
            )
        assert working() == pools
        gate.open()
        await asyncio.gather(*calls)
    assert working() == set()


async def test_a_stuck_thread_is_in_the_metrics_and_is_named_when_it_is_left_behind(
    side: LegacySide, gate: Gate, metric: Callable[..., float], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(runtime, "SAMPLE_SECONDS", 0.01)
    monkeypatch.setattr("graft.flaskside.side.CLOSING", 0.05)
    async with side.running():
        with pytest.raises(LegacyTimeout):
            await side.threads.run(SCOPE, "it", gate.hang)
        await until_true(lambda: metric("graft_legacy_threads", pool="legacy", state="stuck") == 1)
    assert "threads still work after 0.05 s, they are left behind: legacy" in caplog.text


async def test_a_thread_that_comes_back_says_so(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    threads = LegacyExecutor(Pool(1, 1, "late"), TIMEOUT)
    with caplog.at_level(logging.WARNING), pytest.raises(LegacyTimeout):
        await threads.run(SCOPE, "it", gate.hang)
    gate.open()
    await until_true(lambda: "the thread late-1 is back from a request that was given up" in caplog.text)
    assert threads.pools[0].close(5)
