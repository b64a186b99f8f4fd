"""One timer for all mirrored runs: each has as long, and what takes longer is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from graft.mirroring.deadlines import Deadlines


async def run(deadlines: Deadlines, seconds: float) -> str:
    deadline = deadlines.begin()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not deadlines.end(deadline):
            raise
        return "late"
    finally:
        deadlines.end(deadline)
    return "in time"


async def test_what_takes_longer_is_late_and_what_is_quick_is_not() -> None:
    deadlines = Deadlines(0.05)
    told = await asyncio.gather(*(run(deadlines, seconds) for seconds in (60, 0, 60, 0)))
    assert told == ["late", "in time", "late", "in time"]
    assert await run(deadlines, 60) == "late", "a second one, when the first timer has ended"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "nothing of it is left on the task"


async def test_a_run_that_somebody_else_cancels_is_cancelled() -> None:
    deadlines = Deadlines(60)
    task = asyncio.create_task(run(deadlines, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_thousands_of_quick_runs_leave_one_timer_and_nothing_else() -> None:
    deadlines = Deadlines(60)
    slow = asyncio.create_task(run(deadlines, 60))
    await asyncio.sleep(0)
    for _ in range(1000):
        deadlines.end(deadlines.begin())
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert not deadlines._running
    deadlines.close()
