from __future__ import annotations

import asyncio
import contextvars
import gc
import gzip
import random
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from elasticsearch import AsyncElasticsearch
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from graft.mirroring.fence import MirroredWrite
from graft.mirroring.mirror import Mirror
from graft.mirroring.mirrored import Mirrored
from graft.mirroring.original import Original
from graft.request_record import RequestRecord, is_mirrored
from graft.switching.switchboard import Switchboard
from graft.tasks import Runner
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side
from tests.switching.asking import KEY, Counted, Told, ask, raises, says, scope_of, switched, until


class Kept:
    """A Keeper for tests."""

    def __init__(self) -> None:
        self.mirrored: list[Mirrored] = []
        self.noise: set[str] = set()

    async def keep(self, mirrored: Mirrored) -> None:
        self.mirrored.append(mirrored)

    async def learned(self, key: RouteKey, noise: frozenset[str]) -> None:
        self.noise |= noise


class Desk:
    """A switched route with a mirror, and everything it says."""

    def __init__(
        self,
        native: ASGIApp,
        legacy: ASGIApp,
        *,
        key: RouteKey = KEY,
        settings: dict[str, Any] | None = None,
        **mirror: Any,
    ) -> None:
        self.counted, self.kept = Counted(), Kept()
        self.mirror = Mirror(recorder=self.counted, keeper=self.kept, **{"quiet": 0.05, **mirror})
        self.board = Switchboard(key, native, legacy, mirror=self.mirror, recorder=self.counted)
        self.board.follow(switched(key, **{"mirror": 100.0, **(settings or {})}))

    async def __aenter__(self) -> Desk:
        await self.mirror.__aenter__()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.mirror.__aexit__(None, None, None)

    async def until(self, name: str, count: int = 1) -> None:
        await until(lambda: self.counted[name] >= count)


async def test_the_same_answer_matches() -> None:
    async with Desk(
        says({"a": 1, "b": "é"}), Response('{"b": "\\u00e9",\n"a": 1}\n', 200, None, "application/json")
    ) as desk:
        reply = await ask(desk.board)
        assert reply.side is Side.LEGACY
        await desk.until("matched")
    assert (desk.counted["mirrored native"], desk.kept.mirrored) == (1, [])


async def test_another_answer_is_kept_with_both_answers() -> None:
    async with Desk(says({"a": 1}), says({"a": 2})) as desk:
        await ask(desk.board, scope_of(headers={"x-a": "b"}))
        await desk.until("different")
    [kept] = desk.kept.mirrored
    assert (kept.native.body, kept.legacy.body, kept.answered_by) == (b'{"a":1}', b'{"a":2}', Side.LEGACY)
    assert [each.where for each in kept.differences] == ["body.a"]
    assert min(kept.native.latency_ms, kept.legacy.latency_ms) > 0
    assert (b"x-a", b"b") in kept.scope["headers"]


async def test_the_reverse_direction_asks_the_legacy_side() -> None:
    legacy_mirror = Told({"a": 1})
    async with Desk(says({"a": 1}), says("not asked"), settings={"share": 100.0}) as desk:
        board = Switchboard(
            KEY,
            says({"a": 1}),
            says("not asked"),
            legacy_mirror=legacy_mirror,
            mirror=desk.mirror,
            recorder=desk.counted,
        )
        board.follow(switched(share=100, mirror=100))
        assert (await ask(board)).side is Side.NATIVE
        await desk.until("matched")
    assert (legacy_mirror.calls, desk.counted["mirrored legacy"]) == (1, 1)


async def test_the_share_of_mirrored_requests_is_the_set_one() -> None:
    async with Desk(says(1), says(1), settings={"mirror": 30.0}, waiting=1000) as desk:
        for _ in range(1000):
            await ask(desk.board)
        await until(lambda: not desk.mirror._jobs)
    assert desk.counted["matched"] == pytest.approx(300, abs=75)


async def test_a_write_is_not_mirrored_unless_it_is_set() -> None:
    key, native = RouteKey("POST", "/thing"), Told(1)
    async with Desk(native, Told(1), key=key) as desk:
        desk.board.follow(switched(RouteKey("GET", "/other")))
        await ask(desk.board, scope_of("POST"), b"x")
        await asyncio.sleep(0)
        assert native.calls == 0
        desk.board.follow(switched(key, mirror=100))
        await ask(desk.board, scope_of("POST"), b"body")
        await desk.until("matched")
    assert native.bodies == [b"body"], "a write is mirrored once, and never asked again for noise"


async def test_the_mirrored_request_says_what_it_is_and_touches_nothing_of_the_users() -> None:
    def change(request: Request) -> Any:
        request.scope["path_params"] = {}
        RequestRecord.of(request.scope).side = Side.FALLBACK
        request.state.user = "other"
        return asyncio.sleep(0)

    native = Told(1, before=change)
    users = scope_of(state={"user": "ada"}, path_params={"id": 3}, extensions={"http.response.push": {}})
    async with Desk(native, says(1)) as desk:
        await ask(desk.board, users)
        await desk.until("matched")
    assert is_mirrored(native.scopes[0])
    assert "extensions" not in native.scopes[0]
    assert (users["state"], users["path_params"]) == ({"user": "ada"}, {"id": 3})
    assert RequestRecord.of(users).side is Side.LEGACY
    assert not is_mirrored(users)


async def test_a_mirrored_answer_never_reaches_the_user() -> None:
    native = says({"a": 1}, headers={"set-cookie": "session=stolen"})
    async with Desk(native, says({"a": 1})) as desk:
        reply = await ask(desk.board)
        await desk.until("different")
    assert not any(name == b"set-cookie" for name, _ in reply.headers)


async def test_log_lines_of_a_mirrored_run_belong_to_the_users_request() -> None:
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    seen: list[str] = []

    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(request_id.get())
        await JSONResponse(1)(scope, receive, send)

    async with Desk(native, says(1)) as desk:
        request_id.set("the user's")
        await ask(desk.board)
        await desk.until("matched")
    assert seen == ["the user's"]


async def test_what_a_native_route_does_after_its_answer_is_not_done_for_a_mirrored_one() -> None:
    ran: list[int] = []
    async with Desk(JSONResponse(1, background=BackgroundTask(ran.append, 1)), says(1)) as desk:
        await ask(desk.board)
        await desk.until("matched")
    assert ran == []


@pytest.mark.parametrize("share", [0.0, 100.0])
async def test_a_mirrored_route_of_either_side_that_starts_a_task_is_not_comparable(share: float) -> None:
    async def starts_a_task(scope: Scope, receive: Receive, send: Send) -> None:
        if is_mirrored(scope):
            with pytest.raises(MirroredWrite):
                Runner.start(None, send_mail)  # type: ignore[arg-type]
        await JSONResponse(1)(scope, receive, send)

    async def send_mail() -> None:
        """Never runs here."""

    side = Side.LEGACY if share else Side.NATIVE
    async with Desk(starts_a_task, starts_a_task, settings={"share": share}) as desk:
        await ask(desk.board)
        await desk.until("failed not comparable")
    note = desk.kept.mirrored[0].note or ""
    assert note.startswith(f"not comparable: {side} tried to start the task ")
    assert note.endswith("send_mail")


async def test_a_mirrored_native_route_that_writes_is_not_comparable() -> None:
    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        client = Request(scope).state.elasticsearch
        await client.options(request_timeout=1).index(index="articles", document={})

    client = AsyncElasticsearch("http://127.0.0.1:1")
    async with client, Desk(native, says(1)) as desk:
        await ask(desk.board, scope_of(state={"elasticsearch": client}))
        await desk.until("failed not comparable")
    [kept] = desk.kept.mirrored
    assert kept.note == "not comparable: native tried to index into articles"
    assert desk.counted["different"] + desk.counted["matched"] == 0


async def test_a_failing_native_side_is_a_difference_with_its_traceback() -> None:
    async with Desk(raises(ZeroDivisionError("oh")), says(1)) as desk:
        assert (await ask(desk.board)).json == 1
        await desk.until("different")
    [kept] = desk.kept.mirrored
    assert kept.native.status == 500
    assert "ZeroDivisionError: oh" in (kept.native.error or "")


async def test_a_native_404_is_compared_like_any_answer() -> None:
    async with Desk(raises(HTTPException(404, "gone")), Response("gone", 404, None, "text/plain")) as desk:
        await ask(desk.board)
        await desk.until("matched")


async def test_a_native_route_that_says_nothing_is_a_difference() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async with Desk(silent, says(1)) as desk:
        await ask(desk.board)
        await desk.until("different")
    assert "without an answer" in (desk.kept.mirrored[0].native.error or "")


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def test_a_hanging_native_side_is_a_difference_after_its_deadline() -> None:
    async with Desk(hang, says(1), deadline=0.02) as desk:
        await ask(desk.board)
        await desk.until("different")
    assert "TimeoutError" in (desk.kept.mirrored[0].native.error or "")


@pytest.mark.parametrize(("legacy", "reason"), [(hang, "deadline"), (raises(OSError()), "error")])
async def test_a_legacy_side_that_gives_nothing_says_nothing_about_the_native_side(
    legacy: ASGIApp, reason: str
) -> None:
    async with Desk(says(1), says(1), deadline=0.02) as desk:
        board = Switchboard(KEY, says(1), says(1), legacy_mirror=legacy, mirror=desk.mirror, recorder=desk.counted)
        board.follow(switched(share=100, mirror=100))
        await ask(board)
        await desk.until(f"failed {reason}")
        await until(lambda: bool(desk.kept.mirrored))
    [kept] = desk.kept.mirrored
    assert (kept.note, kept.differences) == (f"not comparable: legacy gave no answer ({reason})", ())


async def test_a_hanging_other_side_costs_the_user_nothing_and_the_rest_is_dropped() -> None:
    async with Desk(hang, says(1), at_once=2, waiting=3) as desk:
        for _ in range(20):
            assert (await ask(desk.board)).json == 1
            await asyncio.sleep(0)
        await desk.until("skipped dropped", 20 - 2 - 3)
        assert desk.counted["skipped dropped"] == 20 - 2 - 3
    assert desk.counted["skipped dropped"] == 20 - 2


async def test_who_finds_the_queue_full_is_not_kept_in_vain() -> None:
    async with Desk(hang, says(1), at_once=1, waiting=1) as desk:
        assert desk.board.choose(scope_of()) != desk.board.legacy
        for _ in range(2):
            await ask(desk.board)
        assert desk.board.choose(scope_of()) == desk.board.legacy


def other_board(desk: Desk, path: str, native: ASGIApp) -> Switchboard:
    """Of another route with the same mirror."""
    key = RouteKey("GET", path)
    board = Switchboard(key, native, says(1), mirror=desk.mirror, recorder=desk.counted)
    board.follow(switched(key, mirror=100))
    return board


async def test_a_route_whose_mirror_hangs_leaves_the_others_their_places() -> None:
    sound = Told(1)
    async with Desk(hang, says(1), at_once=2, deadline=0.05) as desk:
        board = other_board(desk, "/sound", sound)
        for _ in range(10):
            await ask(desk.board)
        await desk.until("different", 2)  # both have let the deadline pass
        desk.mirror._deadline = 3600
        await ask(desk.board)
        await until(lambda: desk.mirror._trying is not None)
        for _ in range(30):
            await ask(desk.board)
            await ask(board)
        await until(lambda: sound.calls == 30)
        assert len(desk.mirror._running) == 1


async def test_a_route_whose_mirror_hung_and_answers_again_has_all_places_again() -> None:
    hangs = True

    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        await (hang if hangs else says(1))(scope, receive, send)

    async with Desk(native, says(1), at_once=2, deadline=0.05) as desk:
        await ask(desk.board)
        await desk.until("different")
        assert desk.mirror._silent == {KEY}
        hangs = False
        await ask(desk.board)
        await desk.until("matched")
        assert desk.mirror._silent == set()


async def test_a_slow_busy_route_leaves_a_seldom_one_its_turn() -> None:
    """Of the 200 that may wait, all are the busy one's."""
    gate = asyncio.Event()
    order: list[str] = []

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        order.append("busy")
        await says(1)(scope, receive, send)

    async def seldom(scope: Scope, receive: Receive, send: Send) -> None:
        order.append("seldom")
        await says(1)(scope, receive, send)

    async with Desk(busy, says(1)) as desk:
        board = other_board(desk, "/seldom", seldom)
        for _ in range(210):
            await ask(desk.board)
        await ask(board)
        gate.set()
        await until(lambda: "seldom" in order)
        assert order.index("seldom") <= 4 + 4
        assert desk.counted["skipped dropped"] <= 7


async def test_what_has_waited_for_too_long_is_thrown_away_before_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, when a place is free at last, they would take time from users."""
    async with Desk(hang, says(1), at_once=1) as desk:
        for _ in range(50):
            await ask(desk.board)
        monkeypatch.setattr("graft.mirroring.job_queue.OLDEST", 0.0)
        await desk.until("skipped late", 49)


async def test_what_waits_is_bounded_in_bytes() -> None:
    async with Desk(hang, says("x" * 1000), at_once=1, waiting_bytes=5000) as desk:
        for _ in range(20):
            await ask(desk.board)
        assert len(desk.mirror._jobs) <= 5
        assert desk.counted["skipped dropped"] >= 14


async def test_a_mirror_that_is_not_running_drops() -> None:
    desk = Desk(says(1), says(1))
    await ask(desk.board)
    assert desk.counted["skipped dropped"] == 1


async def chunked(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: StreamingResponse(chunked(3, 100)), "large"),
        (lambda: StreamingResponse(chunked(1, 1), media_type="text/event-stream"), "stream"),
    ],
)
@pytest.mark.parametrize("streaming", ["answering", "other"])
async def test_large_answers_and_streams_are_skipped_on_either_side(
    answer: Callable[[], Response], reason: str, streaming: str
) -> None:
    legacy, native = (Told(answer), says(1)) if streaming == "answering" else (says(1), Told(answer))
    async with Desk(native, legacy, largest=250) as desk:
        await ask(desk.board)
        await desk.until(f"skipped {reason}")


async def test_lines_of_json_that_have_a_length_are_compared_and_others_may_have_no_end() -> None:
    def lines(text: bytes, **headers: str) -> Told:
        return Told(lambda: Response(text, headers=headers, media_type="application/x-ndjson"))

    async with Desk(lines(b'{"a": 1}\n'), lines(b'{"a": 2}\n')) as desk:
        await ask(desk.board)
        await desk.until("different")
    endless = Told(lambda: StreamingResponse(chunked(1, 1), media_type="application/x-ndjson"))
    async with Desk(endless, endless) as desk:
        await ask(desk.board)
        await desk.until("skipped stream")


async def test_a_file_that_the_server_sends_by_itself_is_skipped() -> None:
    async def sends_a_path(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/x"})

    async with Desk(says(1), sends_a_path) as desk:
        await ask(desk.board)
        await desk.until("skipped large")


@pytest.mark.parametrize(
    "headers",
    [{"content-length": "300"}, {"content-length": "nonsense"}, {"content-type": "multipart/form-data; boundary=x"}],
)
async def test_uploads_are_skipped(headers: dict[str, str]) -> None:
    async with Desk(says(1), says(1), largest=250) as desk:
        assert (await ask(desk.board, scope_of(headers=headers))).json == 1
        assert desk.counted["skipped upload"] == 1


async def test_a_body_that_grows_too_large_or_is_not_read_is_skipped() -> None:
    headers = {"transfer-encoding": "chunked"}
    async with Desk(says(1), Told(1), largest=250) as desk:
        await ask(desk.board, scope_of(headers=headers), chunks=[b"x" * 200] * 2)
        assert desk.counted["skipped upload"] == 1
    async with Desk(says(1), says(1)) as desk:
        await ask(desk.board, scope_of(headers=headers), chunks=[b"x"])
        assert desk.counted["skipped unread"] == 1


async def test_an_answer_that_was_cut_off_is_skipped() -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async with Desk(says(1), half) as desk:
        await ask(desk.board)
        assert desk.counted["skipped cut off"] == 1


async def test_a_fallback_is_not_mirrored() -> None:
    async with Desk(raises(ZeroDivisionError()), says(1), settings={"share": 100.0}) as desk:
        assert (await ask(desk.board)).side is Side.FALLBACK
        await asyncio.sleep(0.01)
    assert set(desk.counted.counts) == {"native_failed exception"}


async def test_what_an_answer_differs_in_from_itself_is_learned_and_nobody_is_asked_twice() -> None:
    ticks = iter(range(10_000))
    legacy, native = Told(lambda: {"seen": next(ticks), "a": 1}), Told(lambda: {"seen": next(ticks), "a": 1})
    async with Desk(native, legacy, quiet=5) as desk:
        for count in range(1, 21):
            await ask(desk.board)
            await until(lambda count=count: native.calls == count)
        await desk.until("matched", 20)
    assert desk.kept.noise == {"body.seen number"}
    assert desk.mirror.comparisons.noise.learned(KEY) == {"body.seen number"}
    assert desk.counted["different"] == 0
    assert (legacy.calls, native.calls) == (20, 20)


async def test_random_order_is_noise() -> None:
    orders = iter([["a", "b", "c"], ["b", "a", "c"], ["c", "b", "a"]] * 100)
    legacy = Told(lambda: {"tags": next(orders)})
    async with Desk(says({"tags": ["c", "a", "b"]}), legacy, quiet=5) as desk:
        for _ in range(4):
            await ask(desk.board)
        await desk.until("matched", 4)
    assert desk.kept.noise == {"body.tags order"}


async def test_a_real_difference_beside_noise_counts() -> None:
    ticks = iter(range(10_000))
    native, legacy = Told(lambda: {"seen": next(ticks), "a": "b"}), Told(lambda: {"seen": next(ticks), "a": "c"})
    async with Desk(native, legacy) as desk:
        for count in range(1, 21):
            await ask(desk.board)
            await until(lambda count=count: native.calls == count)
        await desk.until("different", 20)
    assert {each.where for kept in desk.kept.mirrored for each in kept.differences} == {"body.a"}


async def test_data_that_changes_between_the_two_runs_is_no_difference() -> None:
    data = {"title": "old"}
    changes = iter([{"title": "new"}])

    def native() -> dict[str, str]:
        data.update(next(changes, {}))
        return dict(data)

    twin = Told(native)
    async with Desk(twin, Told(lambda: dict(data)), quiet=5) as desk:
        for count in range(1, 4):
            await ask(desk.board)
            await until(lambda count=count: twin.calls == count)
        await desk.until("matched", 3)
    assert desk.counted["different"] == 0


async def test_the_legacy_side_is_asked_again_only_where_the_route_says_so() -> None:
    for resample, calls in ((0.0, 5), (100.0, 10)):
        legacy = Told(1)
        async with Desk(says(1), legacy, settings={"resample": resample}) as desk:
            for _ in range(5):
                await ask(desk.board)
            await desk.until("matched", 5)
        assert legacy.calls == calls


@pytest.mark.parametrize("answering", [200, 304])
async def test_a_conditional_request_is_compared_by_what_it_is_about(answering: int) -> None:
    def page(condition: bytes) -> Told:
        def answer(tagged: bool) -> Response:
            return Response(None, 304) if tagged else JSONResponse({"a": 1})

        async def before(request: Request) -> None:
            tagged.append(request.headers.get("if-none-match", "").encode() == condition)

        tagged: list[bool] = []
        return Told(lambda: answer(tagged.pop()), before=before)

    tag = b"legacys" if answering == 304 else b"another"
    async with Desk(page(b"natives"), page(b"legacys")) as desk:
        await ask(desk.board)
        reply = await ask(desk.board, scope_of(headers={"if-none-match": tag.decode()}))
        await desk.until("matched", 2)
    assert reply.status == answering
    assert desk.counted["different"] == 0


async def test_large_bodies_are_compared_on_a_thread() -> None:
    async with Desk(says({"a": "x" * 40_000}), says({"a": "y" * 40_000})) as desk:
        await ask(desk.board)
        await desk.until("different")


async def test_a_keeper_that_fails_is_logged_and_the_mirror_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Kept):
        async def keep(self, mirrored: Mirrored) -> None:
            raise ZeroDivisionError

    async with Desk(says(1), says(2)) as desk:
        desk.mirror.comparisons.keeper = Broken()
        await ask(desk.board)
        await desk.until("failed error")
        await ask(desk.board)
        await desk.until("failed error", 2)
    assert "could not be kept" in caplog.text


async def test_a_mirror_without_a_keeper_counts() -> None:
    async with Desk(says({"a": 1}), says({"a": None})) as desk:
        desk.mirror.comparisons.keeper = None
        await ask(desk.board)
        await desk.until("different")


async def test_memory_of_many_mirrored_requests_is_given_back() -> None:
    def originals() -> int:
        gc.collect()
        return sum(isinstance(each, Original) for each in gc.get_objects())

    before = originals()
    async with Desk(says("x" * 1000), says("x" * 1000)) as desk:
        for count in range(1, 51):
            await ask(desk.board)
            await desk.until("matched", count)
        await asyncio.sleep(0)
        assert originals() <= before
        assert desk.mirror._jobs._room == 16 * 1024 * 1024


async def test_an_end_in_the_middle_of_a_mirrored_run_ends_it() -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Desk(native, says(1)) as desk:
        await ask(desk.board)
        await begun.wait()
    await asyncio.sleep(0)
    assert ended.is_set()


async def test_a_mirrored_route_that_waits_for_a_disconnect_gets_none() -> None:
    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with anyio.move_on_after(0.01) as waited:
            await receive()
        await JSONResponse(waited.cancelled_caught)(scope, receive, send)

    async with Desk(native, says(True)) as desk:
        await ask(desk.board)
        await desk.until("matched")


async def test_messages_pass_the_mirror_as_they_are() -> None:
    sent: list[Message] = []

    async def legacy(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b"), (b"a", b"c")]})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        sent.append(message)

    async with Desk(says(1), legacy) as desk:
        await desk.board(scope_of(), raises(AssertionError()), send)  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "http.response.body"]
    assert sent[0]["headers"] == [(b"a", b"b"), (b"a", b"c")]


async def test_what_is_too_large_when_decoded_is_skipped() -> None:
    def packed(size: int) -> Response:
        return Response(gzip.compress(b"0" * size), 200, {"content-encoding": "gzip"}, "application/json")

    async with Desk(packed(3_000_000), packed(3_000_001)) as desk:
        await ask(desk.board)
        await desk.until("skipped large")
    assert desk.kept.mirrored == []


async def test_a_mirrored_run_that_cancels_itself_is_counted_and_ends_nothing_else() -> None:
    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with Desk(native, says(1)) as desk:
        for _ in range(6):
            await ask(desk.board)
        await desk.until("failed error", 6)


async def test_what_was_counted_before_its_noise_was_known_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request comes twice; the legacy side is asked again for some of the later ones."""
    ticks = iter(range(10_000))
    legacy, native = Told(lambda: {"seats": next(ticks) * 7}), Told(lambda: {"seats": next(ticks) * 7})
    chance = SimpleNamespace(random=lambda: 0.5)
    monkeypatch.setattr("graft.mirroring.mirror.CHANCE", chance)
    monkeypatch.setattr("graft.mirroring.withdrawals.LOOK_SECONDS", 0.05)
    async with Desk(native, legacy, settings={"resample": 10.0}) as desk:
        for number in range(30):
            await ask(desk.board, scope_of(query_string=b"page=%d" % number))
        await desk.until("different", 30)
        chance.random = lambda: 0.0
        for number in range(30, 90):
            await ask(desk.board, scope_of(query_string=b"page=%d" % number))
        await until(lambda: desk.counted["matched"] + desk.counted["different"] == 90, 30)
        await until(lambda: desk.counted["withdrawn"] == desk.counted["different"], 30)
    assert len(desk.kept.mirrored) == desk.counted["different"] >= 30


async def test_what_was_counted_under_another_switch_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to another rung, which has its own count."""
    ticks = iter(range(10_000))
    legacy, native = Told(lambda: {"seats": next(ticks) * 7}), Told(lambda: {"seats": next(ticks) * 7})
    monkeypatch.setattr("graft.mirroring.withdrawals.LOOK_SECONDS", 0.05)
    async with Desk(native, legacy) as desk:
        for number in range(30):
            await ask(desk.board, scope_of(query_string=b"page=%d" % number))
        await desk.until("different", 30)
        desk.board.follow(switched(KEY, mirror=100.0, resample=100.0, share=0.0))
        for number in range(30, 90):
            await ask(desk.board, scope_of(query_string=b"page=%d" % number))
        await until(lambda: desk.counted["matched"] + desk.counted["different"] == 90, 30)
        await asyncio.sleep(0.2)
    assert desk.counted["withdrawn"] <= desk.counted["different"] - 30


async def test_what_nobody_can_tell_as_no_request_repeats_counts_neither_way_and_is_named() -> None:
    """Three of ten in random order, at each of 40 addresses; with resample the legacy side is compared with itself."""

    def any_three(scope: Scope) -> list[str]:
        return random.sample(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"], 3)

    for resample, told in ((0.0, False), (100.0, True)):
        native, legacy = Answers(any_three), Answers(any_three)
        async with Desk(native, legacy, settings={"resample": resample}) as desk:
            for number in range(40):
                await ask(desk.board, scope_of(query_string=b"page=%d" % number))
                await until(lambda: not desk.mirror._jobs and not desk.mirror._running)
            await until(lambda: sum(desk.counted[name] for name in ("matched", "different", "untold")) == 40)
            assert desk.counted["different"] == 0
            assert desk.counted["untold"] > (30 if not told else -1)
            assert desk.counted["untold"] < (41 if not told else 10)
            await until(lambda: bool(desk.kept.noise))
        assert ("body[*] text: untold" in desk.kept.noise) is not told


class Answers:
    """An app that answers with what ``make`` says, anew for each request."""

    def __init__(self, make: Callable[[Scope], Any]) -> None:
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse(self._make(scope))(scope, receive, send)
