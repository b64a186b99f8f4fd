"""Views that burn the CPU, and their neighbours."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from graft.threads import slow_views as slow_views_module
from graft.threads.pool import Pool
from graft.threads.scheduler import Job
from graft.threads.slow_views import (
    CLEARED_AFTER,
    CONCURRENT,
    MAX_KINDS,
    SHORT_INTERVAL,
    SLOW,
    SlowViews,
    SwitchInterval,
    kind,
)
from tests.bridge.wire import until_true

SHORT = pytest.approx(SHORT_INTERVAL, rel=0.01)  # Python keeps whole microseconds


@pytest.fixture(autouse=True)
def usual_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    assert sys.getswitchinterval() == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/report", "GET /report"),
        ("/report/17", "GET /report/*"),
        ("/a/17/b/9f-3c/c", "GET /a/*/b/*/c"),
        ("/", "GET /"),
        ("/" + "x" * 1000, "GET /" + "x" * 199),
    ],
)
def test_requests_of_one_view_are_of_one_kind(path: str, expected: str) -> None:
    assert kind("GET", path) == expected


def test_a_kind_that_was_seen_burning_is_slow_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(slow_views_module, "monotonic", lambda: now)
    views = SlowViews()
    assert not views
    views.mark("GET /a")
    assert views
    assert "GET /a" in views
    assert "GET /b" not in views
    now += slow_views_module.MEMORY + 1
    assert "GET /a" not in views


def test_what_has_no_kind_is_never_slow() -> None:
    views = SlowViews()
    views.mark("")
    assert not views


@pytest.mark.parametrize(("burned", "took"), [(SLOW / 2, 1.0), (SLOW * 2, SLOW * 100), (0.08, 0.43)])
def test_a_kind_that_mostly_waits_is_acquitted_after_a_few_looks(burned: float, took: float) -> None:
    views = SlowViews()
    views.mark("GET /a")
    for _ in range(CLEARED_AFTER - 1):
        views.record("GET /a", burned, took)
        assert "GET /a" in views
    views.record("GET /a", burned, took)
    assert "GET /a" not in views
    views.mark("GET /a")
    assert "GET /a" not in views


def test_a_kind_that_goes_on_burning_stays_slow() -> None:
    views = SlowViews()
    for _ in range(CLEARED_AFTER * 2):
        views.record("GET /a", SLOW, SLOW * 100)
        views.record("GET /a", SLOW * 10, SLOW * 20)
    assert "GET /a" in views


def test_strangers_paths_do_not_fill_the_memory() -> None:
    views = SlowViews()
    for number in range(MAX_KINDS * 3):
        views.mark(f"GET /{number}")
    assert f"GET /{MAX_KINDS * 3 - 1}" in views
    assert len(views._slow) <= MAX_KINDS


def test_the_switch_interval_is_short_while_anyone_asks_for_it() -> None:
    usual = sys.getswitchinterval()
    interval = SwitchInterval()
    one, two = object(), object()
    interval.restore(one)
    interval.shorten(one)
    interval.shorten(one)
    interval.shorten(two)
    assert sys.getswitchinterval() == SHORT
    interval.restore(one)
    assert sys.getswitchinterval() == SHORT
    interval.restore(two)
    assert sys.getswitchinterval() == pytest.approx(usual, rel=0.01)


class Burner(Job):
    """Burns until it is told to stop."""

    def __init__(self, pool: Pool, stop: threading.Event, running: list[int], name: str = "GET /burn") -> None:
        super().__init__(pool.scheduler())
        self._stop = stop
        self._running = running
        self._name = name
        self.ended = False

    @property
    def kind(self) -> str:
        return self._name

    def run(self) -> None:
        self._running.append(1)
        while not self._stop.is_set():
            sum(range(500))
        self._running.pop()
        self.ended = True


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system does not tell threads' CPU time")
async def test_slow_views_run_two_at_a_time_and_quick_jobs_pass_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_views_module, "TICK", 0.005)
    pool = Pool(8, 64, "views")
    stop = threading.Event()
    running: list[int] = []
    first = Burner(pool, stop, running)
    pool.submit(first)
    await until_true(lambda: pool._workers and pool._workers.slow_queue.views)
    assert sys.getswitchinterval() == SHORT

    later = [Burner(pool, stop, running) for _ in range(6)]
    for each in later:
        pool.submit(each)
    await until_true(lambda: len(running) == 1 + CONCURRENT)
    for _ in range(3):
        assert await asyncio.wait_for(pool.run(len, "abc"), 5) == 3
    assert len(running) == 1 + CONCURRENT
    assert pool.stats().waiting == 6 - CONCURRENT

    assert pool.discard(later[-1])
    assert not pool.discard(later[0])
    stop.set()
    await until_true(lambda: all(each.ended for each in [first, *later[:-1]]))
    await until_true(lambda: sys.getswitchinterval() > SHORT_INTERVAL * 2)
    assert not later[-1].ended
    assert await pool.aclose(10)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system does not tell threads' CPU time")
async def test_a_pool_that_is_closed_while_a_job_burns_leaves_the_interval_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_views_module, "TICK", 0.005)
    usual = sys.getswitchinterval()
    pool = Pool(1, 1, "closed")
    stop = threading.Event()
    job = Burner(pool, stop, [])
    pool.submit(job)
    await until_true(lambda: sys.getswitchinterval() == SHORT)
    assert not await pool.aclose(0.05)
    assert sys.getswitchinterval() == pytest.approx(usual, rel=0.01)
    stop.set()
    await until_true(lambda: job.ended)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system does not tell threads' CPU time")
async def test_with_one_thread_slow_views_and_quick_jobs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1, 64, "turns")
    await pool.run(int)
    assert pool._workers is not None
    pool._workers.slow_queue.views.mark("GET /burn")
    order: list[str] = []

    class Noting(Job):
        def __init__(self, name: str) -> None:
            super().__init__(pool.scheduler())
            self.name = name

        @property
        def kind(self) -> str:
            return self.name

        def run(self) -> None:
            order.append(self.name)

    gate = threading.Event()
    held = asyncio.create_task(pool.run(gate.wait, 5))
    await until_true(lambda: pool.stats().busy == 1)
    for name in ["GET /burn"] * 3 + ["GET /quick"] * 3:
        pool.submit(Noting(name))
    gate.set()
    await held
    await until_true(lambda: len(order) == 6)
    assert "GET /quick" in order[:3]
    assert "GET /burn" in order[:2]
    assert await pool.aclose(10)


async def test_a_thread_whose_clock_can_not_be_read_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(clock: int) -> float:
        raise OSError

    monkeypatch.setattr(slow_views_module, "TICK", 0.001)
    monkeypatch.setattr(time, "clock_gettime", refuse)
    pool = Pool(1, 1, "blind")
    assert await pool.run(time.sleep, 0.02) is None
    assert pool._workers is not None
    assert not pool._workers.slow_queue.views
    assert await pool.aclose(10)


class BurnsThenWaits(Burner):
    """Burns 80 ms, as a page does that is rendered, and then waits for another machine until it is told to stop."""

    def run(self) -> None:
        end = time.thread_time() + 0.08
        while time.thread_time() < end:
            sum(range(500))
        self._running.append(1)
        self._stop.wait(30)
        self.ended = True


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system does not tell threads' CPU time")
async def test_a_slow_view_that_waits_leaves_its_place_to_another() -> None:
    pool = Pool(8, 64, "waits")
    stop = threading.Event()
    waiting: list[int] = []
    jobs = [BurnsThenWaits(pool, stop, waiting, "GET /page") for _ in range(12)]
    await pool.run(int)
    assert pool._workers is not None
    slow_queue = pool._workers.slow_queue
    slow_queue.views.mark("GET /page")
    for each in jobs:
        pool.submit(each)
    await until_true(lambda: len(waiting) == 8, 20)
    stop.set()
    await until_true(lambda: all(each.ended for each in jobs))
    assert await pool.aclose(10)
    assert not slow_queue.running
    assert not slow_queue.idle
