"""A task whose steps run in a thread of its own, on a ``ThreadedLoop``."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from threading import get_ident
from time import perf_counter
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Protocol

from graft.threads.worker import thread_clock, thread_cpu_time

if TYPE_CHECKING:
    from graft.threads.loop_lock import Step
    from graft.threads.threaded_loop import ThreadedLoop

TASK_PER_THREAD = sys.version_info >= (3, 14)
"""Since then a thread's current task is kept with the thread, before in one dict with the loop as key."""


def current_task() -> ThreadTask | None:
    """The task whose step the calling thread runs."""
    return getattr(_here, "task", None)


def have_lock() -> None:
    """In a step of a thread's task: take the loop's lock, where it is another's.

    It may be lost between this look and what follows only by a step that stands still there.
    """
    task = current_task()
    if task is not None and task.loop.lock.holder is not task:
        task.take_lock()


class Mailbox(Protocol):
    """The thread of a task, as the loop sees it."""

    def put(self, call: Callable[[], object]) -> bool:
        """Have the thread do ``call()`` soon; from any thread. False when it does no more."""


class ThreadTask(asyncio.Future[Any]):
    """A task whose steps run in the thread behind ``mailbox``; on the loop's own thread once that does no more.

    It is a task to asyncio by the functions that asyncio has for those who make tasks of their own, and has what
    libraries ask of a task: cancel, uncancel, cancelling, get_coro, get_name.
    """

    firm = False

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        *,
        loop: ThreadedLoop,
        mailbox: Mailbox,
        context: contextvars.Context | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(loop=loop)
        self.loop = loop
        self.mailbox = mailbox
        self.touched_loop = False  # in this step
        self.wakes_loop = False  # what it did there can't wait until the loop wakes by itself
        self._coroutine = coroutine
        self._context = context if context is not None else contextvars.copy_context()
        self._name = str(name) if name is not None else "Task-threaded"
        self._fut_waiter: asyncio.Future[Any] | None = None  # under this name anyio and debuggers look for it
        self._must_cancel = False
        self._cancel_text: Any = None
        self._cancels = 0
        self._clock: int | None = None
        self._thread = 0
        self._step: Step | None = None
        self._began_without: float | None = None  # the lock; when, and without the CPU time until then
        self._finalizer = partial(loop.close_generator, mailbox)  # it may outlive the task
        asyncio._register_task(self)  # type: ignore[arg-type]

    def get_coro(self) -> Coroutine[Any, Any, Any]:
        return self._coroutine

    def get_context(self) -> contextvars.Context:
        return self._context

    def get_name(self) -> str:
        return self._name

    def set_name(self, value: object) -> None:
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self._coroutine, "cr_frame", None)
        return [frame] if frame is not None else []

    def set_result(self, result: Any) -> None:
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception: Any) -> None:
        raise RuntimeError("Task does not support set_exception operation")

    def cancelling(self) -> int:
        return self._cancels

    def uncancel(self) -> int:
        if self._cancels:
            self._cancels -= 1
            if not self._cancels and sys.version_info >= (3, 13):
                self._must_cancel = False
        return self._cancels

    def cancel(self, msg: Any = None) -> bool:
        """Raise CancelledError where it waits. On the loop, or in a step of any of its tasks."""
        if self.done():
            return False
        self._cancels += 1
        if self._fut_waiter is not None and self._fut_waiter.cancel(msg=msg):
            return True
        self._must_cancel = True
        self._cancel_text = msg
        return True

    # Its steps.

    def begin(self) -> None:
        """Have the first step done. On the loop, or in a step of another task."""
        self.loop.call_soon(self._dispatch, None, context=self.loop.context)

    def _dispatch(self, error: BaseException | None) -> None:
        """On the loop: the next step is due."""
        if not self.mailbox.put(lambda: self.step(error)):
            self.step(error)

    def _wake(self, future: asyncio.Future[Any]) -> None:
        """On the loop: what was waited for is there."""
        try:
            future.result()
        except BaseException as error:
            self._dispatch(error)
        else:
            self._dispatch(None)

    def step(self, error: BaseException | None = None) -> None:
        """One step, in the task's own thread; on the loop's once that one serves no more."""
        loop, before = self.loop, current_task()
        if get_ident() == loop.thread:
            self._step_on_loop(error)
            return
        self.touched_loop = False
        self._clock = thread_clock()
        self._thread = get_ident()
        asyncio._set_running_loop(loop)
        hooks = sys.get_asyncgen_hooks()  # a thread's own: asyncio sets them in the loop's alone
        sys.set_asyncgen_hooks(firstiter=loop.begin_generator, finalizer=self._finalizer)
        self._begin_with_lock()
        _here.task = self
        if TASK_PER_THREAD:
            asyncio._enter_task(loop, self)  # type: ignore[arg-type]
        try:
            self._context.run(self._advance, error)
        finally:
            _here.task = before
            if TASK_PER_THREAD:
                asyncio._leave_task(loop, self)  # type: ignore[arg-type]
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            loop.lock.release(self)

    def _begin_with_lock(self) -> None:
        """Take the loop's lock, but for a step that is expected to block before it needs it."""
        frame = getattr(self._coroutine, "cr_frame", None)
        name = getattr(self._coroutine, "__qualname__", "")
        if frame is not None:
            self._step = name, frame.f_code.co_filename, frame.f_code.co_firstlineno, frame.f_lasti
            if self._step in self.loop.lock.blocking_steps:
                self._began_without = perf_counter() - self.cpu_time()
                return
        self.loop.lock.acquire(self)

    def take_lock(self) -> None:
        """In a step that has not, or no more, the loop's lock."""
        if self._step is not None and self._began_without is not None:
            waited = perf_counter() - self.cpu_time() - self._began_without
            self._began_without = None
            self.loop.lock.blocking_steps.waited(self._step, waited)
        self.loop.lock.acquire(self)

    def _step_on_loop(self, error: BaseException | None) -> None:
        asyncio._enter_task(self.loop, self)  # type: ignore[arg-type]
        try:
            self._context.run(self._advance, error)
        finally:
            asyncio._leave_task(self.loop, self)  # type: ignore[arg-type]

    def cpu_time(self) -> float:
        """Of its thread, in seconds; 0.0 where the system does not tell."""
        return thread_cpu_time(self._clock)

    def frame(self) -> FrameType | None:
        """Where its thread is."""
        return sys._current_frames().get(self._thread)

    @property
    def untouched_step(self) -> Step | None:
        return None if self.touched_loop else self._step

    @property
    def code(self) -> CodeType | None:
        return getattr(self._coroutine, "cr_code", None)

    def got_lock(self) -> None:
        if not TASK_PER_THREAD:
            asyncio._enter_task(self.loop, self)  # type: ignore[arg-type]

    def lost_lock(self) -> None:
        if self.wakes_loop:
            self.wakes_loop = False
            self.loop.wake()
        if not TASK_PER_THREAD:
            asyncio._leave_task(self.loop, self)  # type: ignore[arg-type]

    def _advance(self, error: BaseException | None) -> None:
        if self._must_cancel:
            if not isinstance(error, asyncio.CancelledError):
                error = asyncio.CancelledError(*(() if self._cancel_text is None else (self._cancel_text,)))
            self._must_cancel = False
        self._fut_waiter = None
        ended, value = _advance(self._coroutine, error)
        if self.loop.lock.holder is not self and get_ident() != self.loop.thread:
            self.take_lock()  # it was taken away while the step blocked
        if not ended:
            self._wait_for(value)
        elif isinstance(value, StopIteration):
            if self._must_cancel:
                super().cancel(self._cancel_text)
            else:
                super().set_result(value.value)
        elif isinstance(value, asyncio.CancelledError):
            super().cancel(*value.args[:1])
        else:
            super().set_exception(value)

    def _wait_for(self, awaited: Any) -> None:
        if getattr(awaited, "_asyncio_future_blocking", None):
            if asyncio.isfuture(awaited) and awaited.get_loop() is self.loop and awaited is not self:
                awaited._asyncio_future_blocking = False
                awaited.add_done_callback(self._wake, context=self.loop.context)
                self._fut_waiter = awaited
                if self._must_cancel and awaited.cancel(msg=self._cancel_text):
                    self._must_cancel = False
                return
            fault = f"Task {self.get_name()} got Future {awaited!r} attached to a different loop"
        elif awaited is None:  # a bare yield: let others go first
            self.loop.call_soon(self._dispatch, None, context=self.loop.context)
            return
        else:
            fault = f"Task got bad yield: {awaited!r}"
        self.loop.call_soon(self._dispatch, RuntimeError(fault), context=self.loop.context)


def _advance(coroutine: Coroutine[Any, Any, Any], error: BaseException | None) -> tuple[bool, Any]:
    """``(False, what it waits for)`` or ``(True, the exception that ended it)``.

    No method: an exception keeps the frames that it went through, and a task that is kept by its own exception would be
    garbage for the collector.
    """
    try:
        return False, coroutine.send(None) if error is None else coroutine.throw(error)
    except BaseException as raised:
        if raised.__traceback__ is not None:
            raised.__traceback__ = raised.__traceback__.tb_next
        return True, raised
    finally:
        del error


_here = threading.local()
