from __future__ import annotations

import asyncio

from graft.cancellation import cancel_and_wait


async def stubborn(times: int) -> None:
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def test_a_task_that_swallows_cancellations_is_cancelled_until_it_ends() -> None:
    tasks = [asyncio.create_task(stubborn(times)) for times in (1, 2, 5)]
    await asyncio.sleep(0)
    await cancel_and_wait(tasks, every=0.005)
    assert all(task.done() for task in tasks)


async def test_one_that_never_ends_is_left_behind() -> None:
    task = asyncio.create_task(stubborn(4))
    await asyncio.sleep(0)
    await cancel_and_wait([task], every=0.005, patience=0.01)
    assert not task.done()
    await cancel_and_wait([task], every=0.005)


async def test_nothing_to_end_is_fine() -> None:
    await cancel_and_wait([])
