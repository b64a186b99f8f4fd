"""What a worker is busy with, as metrics: threads, loop, memory. Sampled, so that no request pays for it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from itertools import count
from typing import Protocol

import psutil

from graft.cancellation import cancel_and_wait
from graft.figures import folders, prometheus, shared
from graft.figures.prometheus import REGISTRY, Counter, Gauge, Histogram
from graft.threads.starting import NoThread

SAMPLE_SECONDS = 0.5
SAMPLES_TO_A_LOOK = 4  # at the files that the workers share

log = logging.getLogger("graft")

_threads = Gauge(
    "graft_legacy_threads",
    "Threads for the legacy app: busy, idle, parked (waiting for a coroutine), stuck (their request was given up).",
    ("pool", "state"),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_limit = Gauge(
    "graft_legacy_threads_limit",
    "Threads that may be busy at once.",
    ("pool",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_waiting = Gauge(
    "graft_legacy_waiting",
    "Requests that wait for a thread.",
    ("pool",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_shed = Counter(
    "graft_legacy_shed", "Requests refused because every thread and place was taken.", ("pool",), registry=REGISTRY
)
_lag = Histogram(
    "graft_loop_lag_seconds",
    "How much later than asked the event loop woke a sleeper, twice a second: what every native request waits too.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)
_memory = Gauge(
    "graft_resident_memory_bytes",
    "Memory of the workers.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_workers = Gauge("graft_workers", "Workers that serve.", registry=REGISTRY, multiprocess_mode="livesum")


class Stats(Protocol):
    """A moment of a pool, as ``graft.threads.pool.PoolStats`` has it."""

    @property
    def threads(self) -> int: ...
    @property
    def busy(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def shed(self) -> int: ...
    @property
    def stuck(self) -> int: ...
    @property
    def parked(self) -> int: ...


class Sampled(Protocol):
    """A pool of threads."""

    @property
    def name(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def stats(self) -> Stats: ...


@asynccontextmanager
async def sampling(pools: Iterable[Sampled]) -> AsyncIterator[None]:
    """Keep the metrics of this worker up to date as long as the context lasts."""
    folders.warn_if_unshared()
    for sentence in prometheus.MISSING:
        log.warning("%s", sentence)
    figures = [_PoolFigures(pool) for pool in pools]
    _workers.set(1)
    _sample(figures)
    task = asyncio.create_task(_sample_for_ever(figures))
    try:
        yield
    finally:
        await cancel_and_wait([task])
        _sample(figures)
        _workers.set(0)


async def _sample_for_ever(figures: Iterable[_PoolFigures]) -> None:
    clock = asyncio.get_running_loop().time
    for number in count(1):
        begun = clock()
        await asyncio.sleep(SAMPLE_SECONDS)
        _lag.observe(max(clock() - begun - SAMPLE_SECONDS, 0.0))
        _sample(figures)
        if number % SAMPLES_TO_A_LOOK == 0:
            with suppress(RuntimeError, NoThread):  # the next time
                await asyncio.to_thread(_restore)


def _restore() -> None:
    """(any thread)"""
    prometheus.restore()
    shared.restore()


def _sample(figures: Iterable[_PoolFigures]) -> None:
    for pool in figures:
        pool.sample()
    _memory.set(resident_memory())


class _PoolFigures:
    """The children of the metrics for one pool, looked up once."""

    def __init__(self, pool: Sampled) -> None:
        self._pool = pool
        self._states = {state: _threads.labels(pool.name, state) for state in ("busy", "idle", "parked", "stuck")}
        self._waiting = _waiting.labels(pool.name)
        self._shed = _shed.labels(pool.name)
        self._counted = pool.stats().shed
        _limit.labels(pool.name).set(pool.threads)

    def sample(self) -> None:
        stats = self._pool.stats()
        # A stuck thread is busy as well; each is told in one state.
        self._states["busy"].set(max(stats.busy - stats.stuck, 0))
        self._states["stuck"].set(stats.stuck)
        self._states["parked"].set(stats.parked)
        self._states["idle"].set(max(stats.threads - stats.busy - stats.parked, 0))
        self._waiting.set(stats.waiting)
        self._shed.inc(stats.shed - self._counted)
        self._counted = stats.shed


def resident_memory() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(_process(os.getpid()).memory_info().rss)
    except psutil.Error:
        return 0


@lru_cache(1)
def _process(pid: int) -> psutil.Process:
    """Kept: to make one, psutil reads eight times of the system, each a moment in which another thread takes over."""
    return psutil.Process(pid)
