"""Where the system has no thread to give."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from graft.threads import starting
from graft.threads.starting import DefaultExecutor, NoThread


@contextmanager
def no_threads() -> Iterator[None]:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "_want", starting._Want())
        patch.setattr(threading.Thread, "start", refuse)
        yield


async def test_calls_to_a_thread_wait_for_those_there_are(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.get_running_loop().set_default_executor(DefaultExecutor())
    begun, gate = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return gate.wait(10)

    busy = asyncio.create_task(asyncio.to_thread(hold))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    with no_threads():
        waiting = [asyncio.create_task(asyncio.to_thread(int)) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()
        assert await busy
        assert await asyncio.gather(*waiting) == [0] * 50
    assert caplog.text.count("can't start another thread") == 1
    assert "Traceback" not in caplog.text


async def test_without_any_thread_a_call_is_refused_and_not_run_later(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.get_running_loop().set_default_executor(DefaultExecutor())
    ran: list[int] = []
    with no_threads():
        for _ in range(100):
            with pytest.raises(NoThread):
                await asyncio.to_thread(ran.append, 1)
        assert caplog.text.count("can't start another thread") == 1
    await asyncio.to_thread(ran.append, 2)
    assert ran == [2]
