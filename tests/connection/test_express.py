"""What happens to a request on the express way is what happens to it on the ASGI way; and when that way is closed."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from graft.bridge.mount import LegacyMount
from graft.connection.forwarded import ForwardedHeaders
from graft.connection.protocol import Connection
from graft.observe import requestid
from graft.observe.access import AccessRecord
from graft.request_record import RequestRecord
from graft.routing.express_way import ExpressWay, closed_by, express_way, is_untouched
from graft.routing.frontdoor import FrontDoor
from graft.tasks.commits import Commit, hold
from tests.connection.express_app import Gateway, Taken, connected, settled
from tests.connection.test_patience import until
from tests.connection.test_same_answers import get, post
from tests.connection.wire import Wire, answers, served

BOTH = pytest.mark.parametrize("way", ["express", "asgi"])


@asynccontextmanager
async def gateway(way: str, **options: Any) -> AsyncIterator[tuple[Gateway, Any, Wire]]:
    made = Gateway(**options)
    try:
        yield made, *await connected(way, made)
    finally:
        made.gate.set()
        assert made.mount.close(10)


async def begun(made: Gateway) -> None:
    """A thread is in /wait."""
    await until(lambda: made.begun.acquire(blocking=False))


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    records = [vars(record) for record in caplog.records if record.name == "graft.access"]
    return [(record["route"], record["status"], record["side"]) for record in records]


# -- Limits ------------------------------------------------------------------------------------------------------------


@BOTH
async def test_with_threads_and_queue_full_the_answer_is_503(way: str) -> None:
    async with gateway(way, workers=1, queue=0) as (made, _, wire):
        _, other = await connected(way, made)
        wire.arrive(get("/wait"))
        await begun(made)
        other.arrive(get("/"))
        await until(lambda: other.written)
        assert answers(other.written)[0][0] == 503
        assert (b"retry-after", b"1") in answers(other.written)[0][1]
        assert made.mount.pool.stats().shed == 1


@BOTH
async def test_a_view_that_takes_too_long_gets_504(way: str) -> None:
    async with gateway(way, timeout=0.3) as (made, _, wire):
        wire.arrive(get("/wait"))
        await until(lambda: wire.written)
        assert answers(wire.written)[0][0] == 504
        assert made.mount.pool.stats().stuck == 1
        wire.arrive(get("/"))  # the connection goes on
        await until(lambda: wire.written.endswith(b"hello"))


async def test_a_system_that_gives_no_thread_is_503_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.threads.worker_threads.start", lambda thread: False)
    async with gateway("express") as (_, protocol, wire):
        wire.arrive(post("/echo", b"abc"))
        await settled(protocol, wire)
        assert answers(wire.written)[0][0] == 503


# -- Clients -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_client_that_leaves_while_it_waits_for_a_thread_is_499(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(way, workers=1) as (made, _, wire):
        _, other = await connected(way, made)
        wire.arrive(get("/wait"))
        await begun(made)
        with caplog.at_level(logging.INFO, "graft.access"):
            other.arrive(post("/wait", b"abc"))
            other.close()
            await until(lambda: told(caplog))
        assert told(caplog) == [("(no route)", 499, "legacy")]
        assert made.mount.pool.stats().waiting == 0  # and it never runs
        made.gate.set()
        await until(lambda: wire.written)


@BOTH
async def test_a_client_that_leaves_in_the_middle_of_a_stream_gives_its_thread_back(way: str) -> None:
    async with gateway(way, workers=1) as (made, _, wire):
        wire.arrive(get("/endless"))
        await until(lambda: wire.written.count(b"part") > 3)
        wire.close()
        await until(lambda: made.closed)
        assert made.closed == ["endless"]


@BOTH
async def test_the_answer_to_a_client_that_left_is_thrown_away(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(way) as (made, _, wire):
        with caplog.at_level(logging.INFO, "graft.access"):
            wire.arrive(get("/wait"))
            await begun(made)
            wire.close()
            await asyncio.sleep(0)
            made.gate.set()
            await until(lambda: told(caplog))
        assert told(caplog) == [("GET /wait", 200, "legacy")]
        assert wire.written == b""


@BOTH
async def test_a_client_that_closes_its_half_gets_its_answer(way: str) -> None:
    async with gateway(way) as (made, _, wire):
        wire.arrive(get("/wait"))
        await begun(made)
        wire.half_close()
        made.gate.set()
        await until(lambda: wire.closing)
        assert [status for status, _, _ in answers(wire.written)] == [200]


@BOTH
async def test_a_client_that_does_not_read_gets_the_rest_when_it_does(way: str) -> None:
    made = Gateway()
    protocol, wire = await connected(way, made)
    wire.reads = False
    wire.arrive(get("/big/500000") + get("/") + get("/big/1200000"))
    await until(lambda: protocol.unread.paused)
    await asyncio.sleep(0.05)
    assert len(answers(wire.written)) == 1
    while len(found := answers(wire.written)) < 3 or len(found[2][2]) < 1_200_000:
        wire.read_on()
        await asyncio.sleep(0.01)
    assert [len(body) for _, _, body in found] == [500_000, 5, 1_200_000]
    assert made.mount.close(5)


@BOTH
@pytest.mark.parametrize("path", ["/big/300000", "/big/3000000", "/endless"])
async def test_a_reader_that_stops_is_cut_off(way: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.connection.limits.WRITE_PATIENCE", 0.05)
    async with gateway(way, workers=1) as (made, _, wire):
        wire.reads = False
        wire.unread = 65_000 if path == "/endless" else 0  # of an answer before
        wire.arrive(get(path))
        await until(lambda: wire.lost, 30)
        assert wire.aborted
        await until(lambda: made.mount.pool.stats().busy == 0, 30)


@BOTH
async def test_who_does_not_read_gets_no_further_answers(way: str) -> None:
    async with gateway(way) as (_, _, wire):
        wire.reads = False
        for _ in range(50):
            wire.arrive(get("/big/30000"))
            for _ in range(5):
                await asyncio.sleep(0.001)
            if wire.paused:
                break
        assert wire.paused
        assert len(wire.written) < 300_000
        while len(answers(wire.written)[-1][2]) < 30_000 or wire.paused:
            wire.read_on()
            await asyncio.sleep(0.001)
        assert {(status, len(body)) for status, _, body in answers(wire.written)} == {(200, 30_000)}


@BOTH
async def test_many_requests_in_one_segment_wait_their_turn(way: str) -> None:
    async with gateway(way) as (made, _, wire):
        wire.arrive(get("/wait") + get("/", "X-Request-ID: a") * 150 + get("/close") + get("/"))
        await begun(made)
        assert wire.paused
        made.gate.set()
        await until(lambda: wire.closing, 30)
        assert [body for _, _, body in answers(wire.written)] == [b"waited", *[b"hello"] * 150, b"ok"]
        assert (b"connection", b"close") in answers(wire.written)[-1][1]


@BOTH
async def test_a_client_of_http_1_0_gets_no_chunks_and_the_end(way: str) -> None:
    async with gateway(way) as (_, _, wire):
        wire.arrive(get("/chunks", "Connection: keep-alive", version="1.0") + get("/"))
        await until(lambda: wire.closing, 30)
        ((status, headers, body),) = answers(wire.written)
        assert (status, body) == (200, b"onetwo")
        assert b"transfer-encoding" not in dict(headers)


@BOTH
async def test_requests_behind_one_that_waits_are_answered_in_their_order(way: str) -> None:
    async with gateway(way) as (made, protocol, wire):
        wire.arrive(get("/wait") + post("/echo", b"one") + get("/native") + post("/echo", b"two"))
        await begun(made)
        assert wire.written == b""
        made.gate.set()
        await settled(protocol, wire)
        assert [body for _, _, body in answers(wire.written)] == [b"waited", b"one", b"native /native ", b"two"]


@BOTH
async def test_a_worker_that_leaves_answers_and_closes(way: str) -> None:
    async with gateway(way) as (made, protocol, wire):
        wire.arrive(get("/wait"))
        await begun(made)
        protocol.shutdown()
        made.gate.set()
        await until(lambda: wire.closing)
        [(status, headers, body)] = answers(wire.written)
        assert (status, body) == (200, b"waited")
        assert (b"connection", b"close") in headers


async def test_who_takes_long_goes_on_in_a_task_that_the_server_waits_for() -> None:
    async with gateway("express") as (made, protocol, wire):
        wire.arrive(get("/wait"))
        await begun(made)
        assert not protocol.tasks
        await until(lambda: len(protocol.tasks) == 1)
        made.gate.set()
        await until(lambda: wire.written)
        assert answers(wire.written)[0][2] == b"waited"
        await until(lambda: not protocol.tasks)


async def test_an_ordinary_answer_is_one_write_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(monkeypatch)
    async with gateway("express") as (_, protocol, wire):
        tasks = len(asyncio.all_tasks())
        wire.arrive(get("/"))
        assert len(asyncio.all_tasks()) == tasks
        await settled(protocol, wire)
        assert (wire.writes, taken.count) == (1, 1)


# -- What is kept of a request -----------------------------------------------------------------------------------------


@BOTH
async def test_it_is_counted_and_logged_under_its_rule(
    way: str, caplog: pytest.LogCaptureFixture, metric: Callable[..., float]
) -> None:
    labels = {"route": "GET /status/{status:int}", "side": "legacy", "status": "4xx"}
    before = metric("graft_requests_total", **labels)
    async with gateway(way) as (_, protocol, wire):
        with caplog.at_level(logging.INFO, "graft.access"):
            wire.arrive(get("/status/404", "X-Request-ID: r-1"))
            await settled(protocol, wire)
            await until(lambda: told(caplog))
    assert told(caplog) == [("GET /status/{status:int}", 404, "legacy")]
    assert next(vars(record) for record in caplog.records if record.name == "graft.access")["request_id"] == "r-1"
    assert metric("graft_requests_total", **labels) - before == 1


@BOTH
async def test_each_request_has_its_own_context_variables(way: str) -> None:
    seen: list[tuple[Any, Any]] = []
    variable: contextvars.ContextVar[str | None] = contextvars.ContextVar("of_a_view", default=None)
    made = Gateway(workers=1)

    @made.flask.before_request
    def look() -> None:
        seen.append((variable.get(), requestid.current.get()))
        variable.set("set by a request")

    protocol, wire = await connected(way, made)
    wire.arrive(get("/", "X-Request-ID: one") + get("/chunks", "X-Request-ID: two") + get("/", "X-Request-ID: three"))
    await settled(protocol, wire)
    assert seen == [(None, "one"), (None, "two"), (None, "three")]
    assert requestid.current.get() is None
    assert made.mount.close(5)


async def test_an_answer_that_may_name_a_task_waits_until_that_is_written() -> None:
    commit = Commit()
    made = Gateway()

    @made.flask.get("/starts")
    def starts() -> str:
        hold(requestid.current.get(), commit)
        return "started"

    protocol, wire = await connected("express", made)
    wire.arrive(get("/starts"))
    await until(lambda: protocol.tasks)
    await asyncio.sleep(0.02)
    assert wire.written == b""
    commit.set_result(None)
    await until(lambda: wire.written.endswith(b"started"))
    assert made.mount.close(5)


@BOTH
async def test_a_host_that_is_not_allowed_gets_400(way: str) -> None:
    async with gateway(way, allowed=("example.com",)) as (_, protocol, wire):
        wire.arrive(get("/") + b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await settled(protocol, wire)
        assert [status for status, _, _ in answers(wire.written)] == [400, 200]


async def test_close_of_the_app_runs_after_its_answer_and_once() -> None:
    gate, closes = threading.Event(), []

    class Body(list[bytes]):
        def close(self) -> None:
            closes.append(gate.wait(5))

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body([b"hello"])

    made = Gateway()
    made.mount.app = app  # type: ignore[assignment]
    _, wire = await connected("express", made)
    wire.arrive(get("/"))
    await until(lambda: wire.written.endswith(b"hello"))
    assert closes == []
    gate.set()
    await until(lambda: closes == [True])
    assert made.mount.close(5)


# -- When something in it breaks ---------------------------------------------------------------------------------------


def raising(*_: Any, **__: Any) -> Any:
    raise LookupError("broken on purpose")


@pytest.mark.parametrize("where", ["the thread's start", "the environ"])
async def test_a_fault_on_the_way_to_the_thread_is_answered_and_the_connection_goes_on(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway("express", workers=1) as (made, protocol, wire):
        with monkeypatch.context() as broken:
            if where == "the environ":
                broken.setattr("graft.bridge.express.build_environ", raising)
            else:  # by then the job is in the queue
                broken.setattr("graft.threads.worker_threads.WorkerThreads.wake_one", raising)
            with caplog.at_level(logging.INFO, "graft.access"):
                wire.arrive(post("/echo", b"one"))
                await settled(protocol, wire)
        wire.arrive(post("/echo", b"two"))
        await settled(protocol, wire)
        assert [(status, body == b"two") for status, _, body in answers(wire.written)] == [(500, False), (200, True)]
        assert told(caplog)[0] == ("(no route)", 500, "legacy")
        assert made.mount.pool.stats().waiting == 0


async def test_a_fault_in_front_of_the_way_is_left_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrontDoor, "find", raising)
    async with gateway("express") as (_, protocol, wire):
        wire.arrive(get("/") + get("/native"))
        await settled(protocol, wire)
        assert [body for _, _, body in answers(wire.written)] == [b"hello", b"native /native "]


async def test_who_can_not_go_on_in_a_task_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ExpressWay._follow
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told["message"]))

    def once(way: ExpressWay, *rest: Any) -> None:
        if not faults:
            raise LookupError("broken on purpose")
        begin(way, *rest)

    monkeypatch.setattr(ExpressWay, "_follow", once)
    async with gateway("express") as (made, _, wire):
        other, other_wire = await connected("express", made)
        wire.arrive(get("/wait"))
        other_wire.arrive(get("/wait"))
        await until(lambda: len(other.tasks) == 1)
        made.gate.set()
        await until(lambda: other_wire.written)
    assert faults == ["GET /wait can't go on in a task"]


# -- When it is closed -------------------------------------------------------------------------------------------------


def layered(*more: Middleware) -> Starlette:
    mount = LegacyMount(Flask("closed"))
    ours = [Middleware(ForwardedHeaders), *more, Middleware(FrontDoor, legacy=mount)]
    return Starlette(routes=[Mount("", mount)], middleware=ours)


def test_it_is_open_for_the_middleware_of_gateway_py() -> None:
    assert closed_by(layered()) is None


def test_a_middleware_of_the_users_closes_it_and_is_named() -> None:
    app = layered(Middleware(GZipMiddleware))
    assert closed_by(app) == "GZipMiddleware stands in front of the app"
    assert closed_by(GZipMiddleware(layered())) == "GZipMiddleware stands in front of the app"


def test_an_app_of_another_kind_closes_it() -> None:
    class Own(Starlette):
        pass

    async def plain(scope: Any, receive: Any, send: Any) -> None: ...

    assert closed_by(Own()) == "Own stands in front of the app"
    assert closed_by(plain) == "plain stands in front of the app"
    assert closed_by(Starlette()) == "the app has not the middleware of gateway.py"


def test_a_library_that_puts_itself_around_starlette_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Starlette.__call__

    async def traced(self: Starlette, scope: Any, receive: Any, send: Any) -> None:
        await original(self, scope, receive, send)

    monkeypatch.setattr(Starlette, "__call__", traced)
    assert closed_by(layered()) == "another library has put a function of its own into Starlette"


def test_what_is_no_function_is_not_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrapper:
        __code__ = FrontDoor.__call__.__code__

    assert is_untouched(FrontDoor, "__call__")
    monkeypatch.setattr(FrontDoor, "__call__", Wrapper())
    assert not is_untouched(FrontDoor, "__call__")


async def test_it_is_not_known_before_the_first_scope() -> None:
    made = Gateway()
    assert express_way(made.app) is None
    await made.start()
    assert not isinstance(express_way(made.app), str)


async def test_a_limit_of_concurrency_closes_it() -> None:
    made = Gateway()
    await made.start()
    protocol, _ = served(Connection, made.app, limit_concurrency=100)
    assert protocol.express is None


# -- Memory ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "request_",
    [get("/"), post("/echo", b"abc"), get("/native"), get("/chunks")],
    ids=["get", "post", "native", "stream"],
)
async def test_an_answered_request_leaves_nothing_to_the_garbage_collector(way: str, request_: bytes) -> None:
    def records() -> int:
        return sum(isinstance(each, (RequestRecord, AccessRecord)) for each in gc.get_objects())

    async with gateway(way) as (_, protocol, wire):
        gc.collect()
        before = records()
        gc.disable()
        try:
            for number in range(1, 4):
                wire.arrive(request_)
                await settled(protocol, wire)
                assert len(answers(wire.written)) == number
            await until(lambda: records() == before, 30.0)
        finally:
            gc.enable()
