from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from graft.figures import runtime
from graft.threads.pool import Pool, PoolFull
from tests.bridge.wire import until_true


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SAMPLE_SECONDS", 0.01)


async def test_threads_are_told_busy_waiting_and_shed(metric: Callable[..., float]) -> None:
    pool = Pool(1, 1, "sampled")
    shed_before = metric("graft_legacy_shed_total", pool="sampled")
    go = threading.Event()
    async with runtime.sampling([pool]):
        calls = [asyncio.create_task(pool.run(go.wait, 10)) for _ in range(2)]
        await until_true(lambda: metric("graft_legacy_waiting", pool="sampled") == 1)
        assert metric("graft_legacy_threads", pool="sampled", state="busy") == 1
        assert metric("graft_legacy_threads_limit", pool="sampled") == 1
        with pytest.raises(PoolFull):
            await pool.run(print)
        await until_true(lambda: metric("graft_legacy_shed_total", pool="sampled") == shed_before + 1)
        go.set()
        await asyncio.gather(*calls)
        await until_true(lambda: metric("graft_legacy_threads", pool="sampled", state="idle") == 1)
        assert metric("graft_legacy_threads", pool="sampled", state="busy") == 0
    assert pool.close(5)


async def test_a_loop_that_stands_still_is_told(metric: Callable[..., float]) -> None:
    async with runtime.sampling([]):
        before = metric("graft_loop_lag_seconds_sum")
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251
        await until_true(lambda: metric("graft_loop_lag_seconds_sum") - before > 0.15)


async def test_a_worker_counts_as_long_as_it_serves_and_tells_its_memory(metric: Callable[..., float]) -> None:
    async with runtime.sampling([]):
        assert metric("graft_workers") == 1
        assert metric("graft_resident_memory_bytes") > 1_000_000
    assert metric("graft_workers") == 0


def test_memory_is_nought_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: (_ for _ in ()).throw(psutil.AccessDenied()))
    assert runtime.resident_memory() == 0
