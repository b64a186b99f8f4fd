from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

from graft.errors import SwitchesError
from graft.operations.edits import set_switch
from graft.operations.file_state import FileState
from graft.operations.switch import Trip
from graft.operations.switches import load
from graft.operations.trip import trip
from graft.operations.watcher import Watcher
from graft.switching.native_side import LARGEST_KEPT_BODY
from graft.switching.switchboard import RecordTrip, Switchboard
from graft.types import ASGIApp, Receive, RouteKey, Scope, Send, Side
from tests.switching.asking import KEY, Counted, Told, ask, raises, says, scope_of, switched, until

POST = RouteKey("POST", "/thing")


def recording_in(path: Path) -> RecordTrip:
    return partial(trip, FileState(path, path.parent))


def board(
    native: ASGIApp,
    legacy: ASGIApp | None = None,
    *,
    key: RouteKey = KEY,
    recorder: Counted | None = None,
    **settings: Any,
) -> Switchboard:
    made = Switchboard(key, native, legacy or says("legacy"), recorder=recorder)
    made.follow(switched(key, **{"share": 100.0, **settings}))
    return made


async def test_a_route_starts_dark() -> None:
    reply = await ask(Switchboard(KEY, says("native"), says("legacy")))
    assert (reply.json, reply.side) == ("legacy", Side.LEGACY)


async def test_at_100_everyone_is_native() -> None:
    reply = await ask(board(says("native")))
    assert (reply.json, reply.side) == ("native", Side.NATIVE)


async def test_a_client_stays_native_while_the_share_grows() -> None:
    app = board(says("native"))
    native: set[int] = set()
    for share in (5, 20, 60, 99.5):
        app.follow(switched(share=share))
        now = {i for i in range(200) if (await ask(app, scope_of(client=(f"10.0.0.{i}", 1)))).side is Side.NATIVE}
        assert native <= now
        native = now
    assert 190 < len(native) <= 200


async def test_a_flip_under_load_costs_no_request() -> None:
    async def slow(request: Request) -> None:
        await anyio.sleep(0.001)

    app = board(Told("native", before=slow), Told("legacy", before=slow))
    replies = []

    async def client(number: int) -> None:
        for _ in range(20):
            replies.append(await ask(app, scope_of(client=(f"10.0.0.{number}", 1))))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(client, number)
        for step in range(20):
            await anyio.sleep(0.001)
            app.follow(switched(share=float(step % 2 * 100)))
    assert len(replies) == 400
    assert {(reply.status, reply.json == reply.side.value) for reply in replies if reply.side} == {(200, True)}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_exception_on_a_safe_method_is_answered_by_the_legacy_side(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    counted = Counted()
    reply = await ask(board(raises(ZeroDivisionError("oh")), recorder=counted), scope_of(method))
    assert (reply.status, reply.json, reply.side) == (200, "legacy", Side.FALLBACK)
    assert counted["native_failed exception"] == 1
    assert "GET /thing failed natively, so the legacy side answers" in caplog.text
    assert "ZeroDivisionError: oh" in caplog.text


async def test_a_5xx_on_a_safe_method_is_answered_by_the_legacy_side(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted()
    reply = await ask(board(says("broken", 503), recorder=counted))
    assert (reply.status, reply.json, reply.side) == (200, "legacy", Side.FALLBACK)
    assert counted["native_failed status"] == 1
    assert "answered 503 natively" in caplog.text


async def test_a_background_task_of_a_failed_answer_does_not_start() -> None:
    ran = []
    from starlette.background import BackgroundTask

    reply = await ask(board(JSONResponse("broken", 500, background=BackgroundTask(ran.append, 1))))
    assert (reply.side, ran) == (Side.FALLBACK, [])


async def test_a_native_side_that_swallows_the_end_of_its_5xx_can_not_answer_any_more() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            try:
                await JSONResponse("broken", 500)(scope, receive, send)
            except Exception:
                continue

    reply = await ask(board(stubborn))
    assert (reply.json, reply.side) == ("legacy", Side.FALLBACK)


async def test_a_route_that_returns_without_an_answer_has_failed() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    assert (await ask(board(silent))).side is Side.FALLBACK


async def test_a_write_is_never_run_twice() -> None:
    native, legacy = raises(ZeroDivisionError()), Told("legacy")
    counted = Counted()
    app = board(native, legacy, key=POST, recorder=counted)
    with pytest.raises(ZeroDivisionError):
        await ask(app, scope_of("POST"), b"x")
    assert legacy.calls == 0
    assert counted["native_failed exception"] == 1


async def test_the_5xx_of_a_write_is_its_answer_and_counts_as_a_failure() -> None:
    counted = Counted()
    reply = await ask(board(says("broken", 500), key=POST, recorder=counted), scope_of("POST"))
    assert (reply.status, reply.json, reply.side) == (500, "broken", Side.NATIVE)
    assert counted["native_failed status"] == 1


async def test_a_response_that_has_started_is_never_run_twice() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ZeroDivisionError

    legacy, counted = Told("legacy"), Counted()
    with pytest.raises(ZeroDivisionError):
        await ask(board(StreamingResponse(broken()), legacy, recorder=counted))
    assert legacy.calls == 0
    assert counted["native_failed broken off"] == 1


async def test_a_client_that_leaves_is_no_failure() -> None:
    legacy, counted = Told("legacy"), Counted()
    with pytest.raises(ClientDisconnect):
        await ask(board(raises(ClientDisconnect()), legacy, recorder=counted))
    assert (legacy.calls, counted.counts) == (0, {})


async def test_a_404_is_an_answer_and_not_a_failure() -> None:
    counted = Counted()
    reply = await ask(board(raises(HTTPException(404, "no such thing")), recorder=counted))
    assert (reply.status, reply.body, reply.side) == (404, b"no such thing", Side.NATIVE)
    assert counted.counts == {}


class Expected(Exception):
    pass


@pytest.mark.parametrize(("status", "side"), [(418, Side.NATIVE), (500, Side.FALLBACK)])
async def test_the_apps_own_handler_answers_and_its_5xx_is_a_failure(status: int, side: Side) -> None:
    async def handle(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("handled", status)

    app = Starlette(exception_handlers={Expected: handle, Exception: handle, 500: handle})
    assert (await ask(board(raises(Expected())), scope_of(app=app))).side is side
    assert (await ask(board(raises(ZeroDivisionError())), scope_of(app=app))).side is Side.FALLBACK


async def test_the_legacy_side_gets_the_whole_body_that_the_native_side_has_read() -> None:
    async def reads_and_fails(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        raise ZeroDivisionError

    legacy = Told("legacy")
    reply = await ask(
        board(reads_and_fails, legacy),
        chunks=[b"one", b"two"],
        scope=scope_of(headers={"transfer-encoding": "chunked"}),
    )
    assert (reply.side, legacy.bodies) == (Side.FALLBACK, [b"onetwo"])


async def test_the_legacy_side_goes_on_where_the_native_side_stopped_reading() -> None:
    async def reads_a_bit_and_fails(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ZeroDivisionError

    legacy = Told("legacy")
    await ask(
        board(reads_a_bit_and_fails, legacy), chunks=[b"one", b"two"], scope=scope_of(headers={"content-length": "6"})
    )
    assert legacy.bodies == [b"onetwo"]


async def test_without_a_body_the_legacy_side_reads_its_end_at_once() -> None:
    async def reads_and_fails(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ZeroDivisionError

    legacy = Told("legacy")
    assert (await ask(board(reads_and_fails, legacy))).side is Side.FALLBACK
    assert legacy.bodies == [b""]


async def test_a_body_too_large_to_keep_is_not_run_again() -> None:
    async def reads_and_fails(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        raise ZeroDivisionError

    legacy = Told("legacy")
    with pytest.raises(ZeroDivisionError):
        await ask(board(reads_and_fails, legacy), body=b"x" * (LARGEST_KEPT_BODY + 1))
    assert legacy.calls == 0


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def test_a_hung_native_route_is_answered_by_the_legacy_side(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted()
    reply = await ask(board(hang, deadline=0.02, recorder=counted))
    assert (reply.json, reply.side) == ("legacy", Side.FALLBACK)
    assert counted["native_failed deadline"] == 1
    assert "did not begin to answer natively within 0.02 s" in caplog.text


async def test_a_hung_native_write_gets_a_504_and_is_not_run_twice() -> None:
    legacy = Told("legacy")
    with pytest.raises(HTTPException) as caught:
        await ask(board(hang, legacy, key=POST, deadline=0.02), scope_of("POST"))
    assert (caught.value.status_code, legacy.calls) == (504, 0)


async def test_a_request_that_is_cancelled_at_its_deadline_is_cancelled() -> None:
    async def hang_and_be_cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            request.cancel()

    legacy = Told("legacy")
    request = asyncio.create_task(ask(board(hang_and_be_cancelled, legacy, deadline=0.02)))
    with pytest.raises(asyncio.CancelledError):
        await request
    assert legacy.calls == 0


async def test_a_cancellation_that_gets_lost_in_a_client_library_is_repeated() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await JSONResponse("late")(scope, receive, send)

    assert (await ask(board(stubborn, deadline=0.02))).side is Side.FALLBACK
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_deadlines_hold_in_every_event_loop() -> None:
    app = board(hang, deadline=0.05)

    async def leave_at_once() -> None:
        with anyio.move_on_after(0.01):
            await ask(app)

    anyio.run(leave_at_once)
    time.sleep(0.1)
    assert anyio.run(ask, app).side is Side.FALLBACK


async def test_a_native_side_that_ignores_its_deadline_can_not_answer_any_more() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await JSONResponse("late")(scope, receive, send)

    assert (await ask(board(late, deadline=0.02))).side is Side.FALLBACK


async def test_the_deadline_is_for_the_beginning_of_an_answer() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"."
            await anyio.sleep(0.02)

    assert (await ask(board(StreamingResponse(slowly()), deadline=0.03))).body == b"..."


async def test_a_timeout_of_the_routes_own_is_a_plain_exception() -> None:
    counted = Counted()
    assert (await ask(board(raises(TimeoutError()), recorder=counted))).side is Side.FALLBACK
    assert counted["native_failed exception"] == 1


async def test_a_cancelled_request_is_no_failure() -> None:
    counted = Counted()
    request = asyncio.create_task(ask(board(hang, recorder=counted)))
    await anyio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert counted.counts == {}


async def test_too_many_failures_trip_the_route_for_all_workers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, counted = tmp_path / "switches.toml", Counted()
    path.write_text('# ours\n["GET /thing"]\nshare = 100\ntrip = { percent = 50, least = 3 } # few\n')
    native = Told(lambda: 1 / 0)
    app = Switchboard(KEY, native, says("legacy"), recorder=counted, record_trip=recording_in(path))
    app.follow(load(path))
    for _ in range(10):
        assert (await ask(app)).json == "legacy"
    assert native.calls == 3
    await until(lambda: load(path)[KEY].tripped)
    switch = load(path)[KEY]
    assert (switch.share, switch.tripped) == (0, "3 of 3 native answers failed within 60 s")
    assert switch.tripped_at is not None
    assert "# ours" in path.read_text()
    assert counted["tripped"] == 1
    assert "GET /thing was taken from the native side: 3 of 3 native answers failed within 60 s" in caplog.text


async def test_a_route_is_set_again_after_a_trip() -> None:
    app = board(raises(ZeroDivisionError()), trip=Trip(least=1))
    await ask(app)
    assert (await ask(app)).side is Side.LEGACY
    app.follow(switched(share=100, trip=Trip(least=1), mirror=3))
    assert (await ask(app)).side is Side.FALLBACK


async def test_failures_within_the_rate_do_not_trip() -> None:
    answers = iter([True, False] * 50)

    async def sometimes(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse("x", 500 if next(answers) else 200)(scope, receive, send)

    counted = Counted()
    app = board(sometimes, recorder=counted, trip=Trip(percent=60, least=10))
    for _ in range(100):
        await ask(app)
    assert (counted["tripped"], counted["native_failed status"]) == (0, 50)


@pytest.mark.parametrize("error", [SwitchesError("switches.toml", "can't be written", "Mend it."), OSError("disk")])
async def test_a_trip_that_can_not_be_written_holds_in_this_worker(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(key: RouteKey, reason: str) -> None:
        raise error

    app = Switchboard(KEY, raises(ZeroDivisionError()), says("legacy"), record_trip=fail)
    settings: dict[str, Any] = {"share": 100.0, "trip": Trip(least=1)}
    app.follow(switched(**settings))
    await ask(app)
    await until(lambda: "holds in the workers that run now" in caplog.text)
    app.follow(switched(**settings))
    assert (await ask(app)).side is Side.LEGACY


def test_a_trip_does_not_overwrite_what_somebody_has_set_to_0_already(tmp_path: Path) -> None:
    path = tmp_path / "switches.toml"
    set_switch(path, KEY, share=0, mirror=5)
    recording_in(path)(KEY, "why")
    assert load(path)[KEY].tripped is None


async def test_all_boards_follow_one_watcher_and_trip_into_its_file(tmp_path: Path) -> None:
    path = tmp_path / "switches.toml"
    path.write_text('["GET /thing"]\nshare = 100\ntrip = { least = 1 }\n')
    counted = Counted()
    async with Watcher(path) as watcher:
        failing = raises(ZeroDivisionError())
        app = Switchboard(KEY, failing, says("legacy"), recorder=counted, record_trip=recording_in(path))
        watcher.subscribe(app.follow)
        assert (await ask(app)).side is Side.FALLBACK
        await until(lambda: watcher.switches[KEY].tripped)
        assert (await ask(app)).side is Side.LEGACY
        set_switch(path, KEY, share=100, tripped=None)
        await until(lambda: watcher.switches[KEY].share == 100)
        assert (await ask(app)).side is Side.FALLBACK
    assert counted["tripped"] == 2


def test_nothing_is_logged_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "graft")
    anyio.run(ask, board(says("native")))
    assert [record for record in caplog.records if record.name.startswith("graft")] == []
