"""The pool of worker threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from graft.threads import pool as pool_module
from graft.threads import starting
from graft.threads import worker_threads as threads_module
from graft.threads.parking import Parking
from graft.threads.pool import Pool, PoolFull
from graft.threads.scheduler import Job
from tests.bridge.wire import until, until_true


@asynccontextmanager
async def a_pool(threads: int = 2, queue: int = 4, **options: Any) -> AsyncIterator[Pool]:
    pool = Pool(threads, queue, "test", **options)
    try:
        yield pool
    finally:
        assert await pool.aclose(10)


async def held(pool: Pool, number: int, gate: threading.Event) -> list[asyncio.Task[bool]]:
    """Start calls that hold their threads until the gate opens."""
    before = pool.stats()
    tasks = [asyncio.create_task(pool.run(gate.wait, 10)) for _ in range(number)]
    taken = before.busy + before.waiting + number
    await until_true(lambda: pool.stats().busy + pool.stats().waiting >= taken)
    return tasks


async def test_a_call_returns_what_its_function_returns_from_another_thread() -> None:
    async with a_pool() as pool:
        assert await pool.run(divmod, 7, 2) == (3, 1)
        assert await pool.run(threading.get_ident) != threading.get_ident()
        assert (await pool.run(threading.current_thread)).name.startswith("test-")


async def test_refused_jobs_are_logged_with_the_mend_the_first_at_once_and_then_by_their_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    async with a_pool(1, 0, mend="Raise it.") as pool:
        tasks = await held(pool, 1, gate)
        for quiet in (60.0, 60.0, -1.0, 60.0):
            monkeypatch.setattr(pool_module, "QUIET", quiet)
            with pytest.raises(PoolFull):
                await pool.run(int)
        gate.set()
        await asyncio.gather(*tasks)
    why = "requests refused for want of a thread: 1 threads are busy and 0 requests wait. Raise it."
    assert caplog.messages == [f"1 {why}", f"2 {why}"]


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux only")
async def test_a_thread_pushes_nobody_aside_when_it_is_woken() -> None:
    async with a_pool() as pool:
        assert await pool.run(os.sched_getscheduler, 0) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux only")
async def test_where_the_system_refuses_that_threads_work_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    async with a_pool() as pool:
        assert await pool.run(len, "abc") == 3


async def test_a_call_raises_what_its_function_raises_with_its_traceback() -> None:
    async with a_pool() as pool:
        with pytest.raises(ZeroDivisionError) as caught:
            await pool.run(divmod, 1, 0)
        assert caught.traceback[-1].name == "run"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration()])
async def test_what_would_end_the_loop_comes_back_as_a_runtime_error(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async with a_pool() as pool:
        with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
            await pool.run(fail)
        assert caught.value.__cause__ is error
        assert await pool.run(len, "abc") == 3


async def test_a_call_sees_the_callers_context_variables() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("here")
    async with a_pool() as pool:
        assert await pool.run(variable.get) == "here"


async def test_no_thread_starts_before_the_first_call_and_one_serves_calls_that_follow_each_other() -> None:
    async with a_pool(threads=8) as pool:
        assert pool.stats().threads == 0
        for _ in range(50):
            await pool.run(int)
        assert 1 <= pool.stats().threads < 8


async def test_blocking_calls_run_at_the_same_time_up_to_the_limit() -> None:
    barrier = threading.Barrier(4)
    async with a_pool(threads=4, queue=0) as pool:
        await asyncio.gather(*(pool.run(barrier.wait, 5) for _ in range(4)))
        assert pool.stats().threads == 4


async def test_above_threads_and_queue_a_call_is_refused_and_counted() -> None:
    gate = threading.Event()
    async with a_pool(threads=2, queue=3) as pool:
        tasks = await held(pool, 5, gate)
        await until_true(lambda: pool.stats().busy == 2)
        with pytest.raises(PoolFull, match="2 threads are busy and 3 requests wait"):
            await pool.run(int)
        assert pool.full
        stats = pool.stats()
        assert (stats.busy, stats.waiting, stats.shed, stats.threads) == (2, 3, 1, 2)
        gate.set()
        await asyncio.gather(*tasks)
        assert await pool.run(int) == 0
        await until_true(lambda: pool.stats().busy == 0)
        assert not pool.full


async def test_a_queue_of_none_still_serves_as_many_as_there_are_threads() -> None:
    gate = threading.Event()
    async with a_pool(threads=2, queue=0) as pool:
        tasks = await held(pool, 2, gate)
        await until_true(lambda: pool.stats().busy == 2)
        with pytest.raises(PoolFull):
            await pool.run(int)
        gate.set()
        await asyncio.gather(*tasks)


async def test_many_calls_all_come_back_once() -> None:
    async with a_pool(threads=4, queue=5000) as pool:
        results = await asyncio.gather(*(pool.run(abs, -number) for number in range(3000)))
        assert results == list(range(3000))


async def test_a_cancelled_call_that_waits_never_runs_and_frees_its_place() -> None:
    gate = threading.Event()
    ran: list[int] = []
    async with a_pool(threads=1, queue=1) as pool:
        (running,) = await held(pool, 1, gate)
        await until_true(lambda: pool.stats().busy == 1)
        waiting = asyncio.create_task(pool.run(ran.append, 1))
        await until_true(lambda: pool.stats().waiting == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.stats().waiting == 0
        gate.set()
        await running
    assert ran == []


async def test_a_cancelled_call_that_runs_gives_its_thread_back_when_it_ends() -> None:
    gate = threading.Event()
    async with a_pool(threads=1, queue=1) as pool:
        (running,) = await held(pool, 1, gate)
        await until_true(lambda: pool.stats().busy == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pool.stats().busy == 1
        gate.set()
        assert await pool.run(int) == 0


async def test_a_parked_thread_makes_room_for_another_one() -> None:
    gate = threading.Event()

    async with a_pool(threads=1, queue=10) as pool:

        def park() -> str:
            with Parking(gate.set):
                gate.wait(10)
            return "back"

        tasks = [asyncio.create_task(pool.run(park)) for _ in range(3)]
        await until_true(lambda: pool.stats().parked == 3)
        assert pool.stats().busy == 0
        assert await pool.run(int) == 0
        gate.set()
        assert await asyncio.gather(*tasks) == ["back"] * 3


async def test_the_ceiling_bounds_the_threads_that_parked_ones_bring_along() -> None:
    gate = threading.Event()

    async with a_pool(threads=1, queue=10, ceiling=2) as pool:

        def park() -> None:
            with Parking(gate.set):
                gate.wait(10)

        tasks = [asyncio.create_task(pool.run(park)) for _ in range(4)]
        await until_true(lambda: pool.stats().parked == 2)
        assert pool.stats().threads == 2
        assert pool.stats().waiting == 2
        gate.set()
        await asyncio.gather(*tasks)


async def test_threads_above_the_limit_go_home_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "LINGER", 0.01)
    gate = threading.Event()
    async with a_pool(threads=1, queue=10) as pool:

        def park() -> None:
            with Parking(gate.set):
                gate.wait(10)

        tasks = [asyncio.create_task(pool.run(park)) for _ in range(3)]
        await until_true(lambda: pool.stats().parked == 3)
        gate.set()
        await asyncio.gather(*tasks)
        await until_true(lambda: pool.stats().threads == 1)
        assert await pool.run(int) == 0


async def test_waits_that_end_while_a_thread_works_wait_for_it() -> None:
    """Threads that wake at once would fight over the interpreter: each calls the next when it has done its work."""
    order: list[int] = []
    hold = threading.Event()

    async with a_pool(threads=1, queue=10) as pool:
        scheduler = pool.scheduler()
        parkings: list[Parking] = []

        def park(number: int) -> None:
            gate = threading.Event()
            with Parking(gate.set) as parking:
                parkings.append(parking)
                gate.wait(10)
            order.append(number)

        tasks = [asyncio.create_task(pool.run(park, number)) for number in range(3)]
        await until_true(lambda: pool.stats().parked == 3)
        working = asyncio.create_task(pool.run(hold.wait, 10))
        await until_true(lambda: pool.stats().busy == 1)
        workers = pool._workers
        assert workers is not None
        workers.average = 0.0
        workers.last_start = time.monotonic() + 10  # that thread counts as moving
        for parking in parkings:
            parking.over(scheduler)
        assert len(workers.ready) == 3
        hold.set()
        await asyncio.gather(working, *tasks)
        assert sorted(order) == [0, 1, 2]
        assert pool.stats().parked == 0


async def test_a_wait_that_ended_is_not_forgotten_behind_a_thread_that_blocks() -> None:
    hold = threading.Event()
    gate = threading.Event()

    async with a_pool(threads=1, queue=10) as pool:

        def park() -> Parking:
            with Parking(gate.set) as parking:
                parkings.append(parking)
                gate.wait(10)
            return parking

        parkings: list[Parking] = []
        task = asyncio.create_task(pool.run(park))
        await until_true(lambda: pool.stats().parked == 1)
        working = asyncio.create_task(pool.run(hold.wait, 10))
        await until_true(lambda: pool.stats().busy == 1)
        parkings[0].over(pool.scheduler())
        await asyncio.wait_for(task, 5)
        hold.set()
        await working


def test_parking_outside_of_a_worker_thread_is_nothing() -> None:
    ended: list[bool] = []
    with Parking(lambda: ended.append(True)) as parking:
        with parking.interrupted():
            pass
        parking.end()
    assert ended == [True]


async def test_closing_waits_for_running_and_waiting_calls_and_ends_the_threads() -> None:
    gate = threading.Event()
    pool = Pool(2, 10, "closing")
    tasks = await held(pool, 5, gate)
    closing = asyncio.create_task(pool.aclose(10))
    await asyncio.sleep(0)
    gate.set()
    assert await closing
    assert await asyncio.gather(*tasks) == [True] * 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("closing")]


async def test_a_closed_pool_begins_again_with_the_next_call() -> None:
    pool = Pool(1, 1, "again")
    assert await pool.aclose()
    assert await pool.run(int) == 0
    assert await pool.aclose(10)
    assert await pool.run(int) == 0
    assert await pool.aclose(10)


async def test_closing_gives_up_on_a_thread_that_does_not_end() -> None:
    gate = threading.Event()
    pool = Pool(1, 1, "slow")
    (task,) = await held(pool, 1, gate)
    await until_true(lambda: pool.stats().busy == 1)
    assert not await pool.aclose(0.01)
    gate.set()
    await task


def test_a_pool_that_is_dropped_sends_its_threads_home() -> None:
    async def use() -> None:
        await Pool(1, 1, "dropped").run(int)

    asyncio.run(use())
    gc.collect()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("dropped")])


def test_a_pool_serves_one_loop_after_another() -> None:
    pool = Pool(1, 1, "loops")
    for _ in range(3):
        assert asyncio.run(pool.run(int)) == 0
    assert pool.close(10)


def test_work_that_ends_after_its_loop_does_no_harm() -> None:
    pool = Pool(1, 1, "late")
    gate = threading.Event()

    async def leave() -> None:
        (task,) = await held(pool, 1, gate)
        await until_true(lambda: pool.stats().busy == 1)
        task.cancel()

    asyncio.run(leave())
    gate.set()
    until(lambda: pool.stats().busy == 0)
    assert asyncio.run(pool.run(int)) == 0
    assert pool.close(10)


@pytest.mark.parametrize("moving", [False, True])
async def test_a_job_behind_threads_that_block_is_told_that_it_must_wait(moving: bool) -> None:
    """Also when the thread counted as moving at first: its client may leave, and is to be noticed."""
    hold = threading.Event()

    class Waiting(Job):
        told = False

        def run(self) -> None: ...

        def must_wait(self) -> None:
            self.told = True

    async with a_pool(threads=1) as pool:
        blocked = asyncio.create_task(pool.run(hold.wait, 10))
        await until_true(lambda: pool.stats().busy == 1)
        workers = pool._workers
        assert workers is not None
        workers.average = 0.0 if moving else 1.0
        workers.last_start = time.monotonic() + 10 * moving
        job = Waiting(pool.scheduler())
        pool.submit(job)
        assert job.told is not moving
        workers.average = 1.0
        await until_true(lambda: job.told)
        hold.set()
        await blocked


async def test_a_job_that_breaks_its_promise_not_to_raise_is_logged_and_costs_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(Job):
        def run(self) -> None:
            raise SystemExit

    async with a_pool(threads=1) as pool:
        bad = Bad(pool.scheduler())
        bad.overdue = True
        pool.submit(bad)
        assert await pool.run(int) == 0
    assert "a job of the pool test broke" in caplog.text
    assert "is back from a request that was given up" in caplog.text


async def test_when_the_system_gives_no_thread_the_calls_wait_for_those_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    async with a_pool(threads=2) as pool:
        (running,) = await held(pool, 1, gate)

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            monkeypatch.setattr(starting, "_want", starting._Want())
            waiting = asyncio.create_task(pool.run(int))
            await until_true(lambda: "can't start another thread" in caplog.text)
            assert "Traceback" not in caplog.text
        assert pool.stats().threads == 1
        gate.set()
        assert await asyncio.gather(running, waiting) == [True, 0]


async def test_without_any_thread_the_calls_are_refused_in_one_line_until_there_is_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(starting, "_want", starting._Want())
    async with a_pool(threads=2) as pool:
        caplog.set_level("INFO")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(200):
                async with asyncio.timeout(5):
                    with pytest.raises(PoolFull):
                        await pool.run(int)
        assert (pool.stats().threads, pool.stats().waiting, pool.stats().shed) == (0, 0, 200)
        assert await asyncio.gather(*(pool.run(int) for _ in range(4))) == [0] * 4
    lines = [record.getMessage() for record in caplog.records if record.name == "graft.threads"]
    assert len(lines) == 2, lines
    assert lines[0].startswith("can't start another thread: can't start new thread. Requests wait for")
    assert lines[1] == "threads can be started again"


async def test_a_pool_without_a_thread_gives_its_calls_to_the_one_that_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gate = threading.Event()
    async with a_pool(threads=1) as first:
        later = Pool(4, 100, "later", stand_in=first)
        (running,) = await held(first, 1, gate)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            waiting, dropped = (asyncio.create_task(later.run(int)) for _ in range(2))
            await until_true(lambda: first.stats().waiting == 2)
            dropped.cancel()
            await until_true(lambda: first.stats().waiting == 1)
            gate.set()
            assert await asyncio.gather(running, waiting) == [True, 0]
        assert await later.aclose(10)


def _call_in_child(pool: Pool, answer: Callable[[int], None]) -> None:
    answer(asyncio.run(pool.run(len, "abc")))


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_pool_that_was_used_before_a_fork_works_in_the_child() -> None:
    pool = Pool(1, 1, "forked")
    assert asyncio.run(pool.run(int)) == 0
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_call_in_child, args=(pool, results.put))
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert results.get() == 3
    assert pool.close(10)
