"""The lock of a loop whose tasks run in threads of their own."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from time import monotonic
from types import CodeType, FrameType
from typing import Any

import pytest

from graft.threads import loop_lock
from graft.threads.loop_lock import BELIEVED, MAX_STEPS, BlockingSteps, LoopLock, Step, is_in_own_code

STEP: Step = ("view", "views.py", 3, 0)


class Holder:
    """A thread that does nothing but hold the lock, blocked in the middle of ``frame``."""

    firm = False
    code: CodeType | None = None
    untouched_step: Step | None = STEP

    def __init__(self, frame: FrameType | None = None) -> None:
        self.has_lock = False
        self._frame = frame

    def cpu_time(self) -> float:
        return 0.0

    def frame(self) -> FrameType | None:
        return self._frame

    def got_lock(self) -> None:
        self.has_lock = True

    def lost_lock(self) -> None:
        self.has_lock = False


def frame_in(plain: str, *coroutines: str) -> FrameType:
    """Where a plain function of the file ``plain`` stands, called by coroutines of the others, outermost first."""
    names: dict[str, Any] = {"sys": sys}
    exec(compile("def inner(): return sys._getframe()", plain, "exec"), names)
    body = "return inner()"
    for file in reversed(coroutines):
        exec(compile(f"async def outer(): {body}", file, "exec"), names)
        names, body = {"inner": names["outer"]}, "return await inner()"
    try:
        names["inner"]().send(None)
    except StopIteration as stop:
        frame: FrameType = stop.value
    return frame


def installed(file: str) -> str:
    return str(Path(sys.prefix, "lib", "python3", "site-packages", file))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("shop/views.py", "shop/views.py"), True),
        ((installed("sqlalchemy/engine.py"), "shop/views.py"), True),
        ((threading.__file__, "shop/orders.py", "shop/views.py"), True),
        ((installed("httpcore/pool.py"), installed("httpcore/pool.py"), "shop/views.py"), False),
        ((asyncio.__file__, asyncio.__file__, "shop/views.py"), False),
    ],
)
def test_a_thread_is_in_the_apps_own_code_as_its_innermost_coroutine_is(files: tuple[str, ...], expected: bool) -> None:
    plain, *coroutines = files
    assert is_in_own_code(frame_in(plain, *reversed(coroutines)), None) is expected


def test_an_app_that_is_installed_has_own_code_too() -> None:
    view = compile("", installed("store/views.py"), "exec")
    assert is_in_own_code(frame_in(installed("store/orders.py"), installed("store/orders.py")), view)
    assert not is_in_own_code(frame_in(installed("httpx/client.py"), installed("httpx/client.py")), view)


def test_a_blocked_holder_in_the_apps_own_code_loses_the_lock_and_its_step_is_known_to_block() -> None:
    lock, blocked, waiter = LoopLock(), Holder(frame_in("views.py", "views.py")), Holder()
    lock.acquire(blocked)
    lock.acquire(waiter)
    assert (blocked.has_lock, waiter.has_lock) == (False, True)
    assert STEP in lock.blocking_steps
    lock.release(blocked)
    assert lock.holder is waiter
    lock.release(waiter)
    lock.end()


def test_a_blocked_holder_in_a_librarys_coroutine_loses_the_lock_too_but_later_and_nothing_is_learned() -> None:
    pool = installed("httpcore/pool.py")
    lock, blocked, waiter = LoopLock(), Holder(frame_in(pool, pool)), Holder()
    lock.acquire(blocked)
    began = monotonic()
    lock.acquire(waiter)
    assert monotonic() - began >= loop_lock.BLOCKED_IN_LIBRARY
    assert STEP not in lock.blocking_steps
    lock.release(waiter)
    lock.end()


def test_a_blocked_holder_loses_the_lock_where_the_system_gives_no_thread_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_lock, "start", lambda thread: False)
    lock, blocked, waiter = LoopLock(), Holder(frame_in("views.py", "views.py")), Holder()
    lock.acquire(blocked)
    lock.acquire(waiter)
    assert waiter.has_lock


def test_no_thread_looks_on_after_the_end() -> None:
    lock, blocked = LoopLock(), Holder(frame_in("views.py", "views.py"))
    before = set(threading.enumerate())
    lock.acquire(blocked)
    lock.acquire(Holder())
    assert [thread.name for thread in set(threading.enumerate()) - before] == ["legacy-loop-lock"]
    lock.end()
    assert not set(threading.enumerate()) - before


def test_a_step_is_believed_to_block_until_it_has_not_a_few_times_in_a_row() -> None:
    steps = BlockingSteps()
    assert STEP not in steps
    steps.blocked(STEP)
    for _ in range(BELIEVED - 1):
        steps.waited(STEP, 0.0)
        assert STEP in steps
    steps.waited(STEP, 0.020)
    for _ in range(BELIEVED - 1):
        steps.waited(STEP, 0.0)
        assert STEP in steps
    steps.waited(STEP, 0.0)
    assert STEP not in steps


def test_the_steps_that_block_are_bounded() -> None:
    steps = BlockingSteps()
    for line in range(3 * MAX_STEPS):
        steps.blocked(("view", "views.py", line, 0))
    assert sum(("view", "views.py", line, 0) in steps for line in range(3 * MAX_STEPS)) <= MAX_STEPS


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_look_that_fails_ends_the_looks_of_that_thread_but_not_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock, blocked, waiter = LoopLock(), Holder(frame_in("views.py", "views.py")), Holder()
    looks: list[str] = []

    def frame() -> FrameType | None:
        looks.append(threading.current_thread().name)
        if len(looks) == 1:
            raise RuntimeError("what a holder's thread is asked may fail")
        return frame_in("views.py", "views.py")

    monkeypatch.setattr(blocked, "frame", frame)
    lock.acquire(blocked)
    lock.acquire(waiter)
    assert waiter.has_lock
    assert looks[0] == "legacy-loop-lock"
    lock.release(waiter)
    lock.end()
