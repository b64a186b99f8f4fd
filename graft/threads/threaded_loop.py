"""An event loop whose tasks run in the threads that made them: each step in its own thread, one step at a time.

Coroutines that share a loop usually share its thread, and with it every ``threading.local``: a scoped session, a
sqlite3 connection, a lock that knows its owner. Here a coroutine has the loop in common with others, so that clients
that live on it work from any request, and a thread to itself.

One lock makes that safe. Whoever runs anything on the loop holds it: the loop's own thread, but for the moments in
which it waits for I/O, or the thread of the task whose step is due. Code between two awaits has the loop to itself, as
asyncio promises. A step that blocks (in SQL, in a ``threading.Lock`` that another task holds) has the lock taken away
and blocks nobody but itself: from then on it runs beside the others, as where each view has a loop of its own. It gets
the lock back before it touches the loop, or what lives there (loop_guards.py), and keeps it until its next await.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import AsyncGenerator, Callable, Coroutine
from math import inf
from threading import get_ident
from time import monotonic
from typing import Any, TypeVar

from graft.threads.loop_lock import LoopLock
from graft.threads.parking import LoopParking
from graft.threads.thread_task import TASK_PER_THREAD, Mailbox, ThreadTask, current_task, have_lock

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for I/O without the loop's lock. ``loop`` is set by the loop itself."""

    loop: ThreadedLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        loop.is_waiting = timeout is None or timeout > 0
        loop.waits_until = inf if timeout is None else monotonic() + timeout
        parking = loop.parking if loop.is_waiting else None
        loop.lock.release(loop)
        if parking is not None:
            parking.park()
        try:
            return super().select(timeout)
        finally:
            if parking is not None:
                parking.unpark()
            loop.is_waiting = False
            loop.lock.acquire(loop)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.loop.touched(super().register, fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.loop.touched(super().unregister, fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.loop.touched(super().modify, fileobj, events, data)


class ThreadedLoop(asyncio.SelectorEventLoop):
    """The loop. ``thread`` is the one that runs it; ``serve`` and ``run`` are for that thread."""

    firm = True  # nobody asks where it is, or how much it burned
    code = untouched_step = None

    parking: LoopParking | None = None
    """Of the worker thread that waits for the one coroutine on this loop, where there is one."""

    def __init__(self) -> None:
        self.lock = LoopLock()
        self.thread = get_ident()
        self.is_waiting = False  # for I/O; written by the loop's thread, and by the one that wakes it
        self.waits_until = 0.0  # by the clock of timers; written by the loop's thread
        self.context = contextvars.Context()  # an empty one, for what is no task's
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self._selector_map = selector.get_map()
        self._idle_descriptors = len(self._selector_map)
        self.set_task_factory(_make_task)

    @property
    def has_connections(self) -> bool:
        """Whether a socket or pipe is watched: a connection that something on this loop keeps open."""
        return len(self._selector_map) > self._idle_descriptors

    def serve(self) -> None:
        """``run_forever`` in the calling thread."""
        self._run(self.run_forever)

    def run(self, coroutine: Coroutine[Any, Any, T], context: contextvars.Context) -> T:
        """``coroutine`` to its end in the calling thread; raises what it does."""
        return self._run(lambda: self.run_until_complete(self.create_task(coroutine, context=context)))

    def end(self) -> None:
        """Cancel what is left and close the loop, in the calling thread, as ``asyncio.run`` does at its end."""
        self._run(self._end)

    def _end(self) -> None:
        try:
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.run_until_complete(self.shutdown_asyncgens())
            self.run_until_complete(self.shutdown_default_executor())
        finally:
            self.close()
            self.lock.end()

    def _run(self, function: Callable[[], T]) -> T:
        self.thread = get_ident()
        self.lock.acquire(self)
        try:
            return function()
        finally:
            self.lock.release(self)

    def cpu_time(self) -> float:
        return 0.0

    def frame(self) -> None:
        return None

    def wake(self) -> None:
        """Have it see what a step has left for it. Called by the holder of the lock.

        One that does not wait for I/O has still to look, once it gets the lock; one that was woken just now as well.
        """
        if self.is_waiting:
            self.is_waiting = False
            self.call_soon_threadsafe(_nothing)

    def got_lock(self) -> None:
        """The loop's own thread goes on."""

    def lost_lock(self) -> None:
        """The loop's own thread waits for I/O."""

    def touched(self, operation: Callable[..., T], /, *args: Any, **keywords: Any) -> T:
        """``operation(*args)``, which changes the loop: with the lock, where a task's thread calls it."""
        task = None if get_ident() == self.thread else current_task()
        if task is None:
            return operation(*args, **keywords)
        while True:
            with self.lock.guard:  # else it could be taken away between the look and the operation
                if self.lock.holder is task:
                    task.touched_loop = task.wakes_loop = True
                    return operation(*args, **keywords)
            task.take_lock()

    def begin_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """A task is about to take the first step of ``generator``."""
        have_lock()  # it may be a library's
        self._asyncgen_firstiter_hook(generator)  # type: ignore[attr-defined]

    def close_generator(self, mailbox: Mailbox, generator: AsyncGenerator[Any, Any]) -> None:
        """``generator``, which a task of ``mailbox`` began, is left early: have what it holds given back, in that
        thread. In any thread, in the middle of anything: it is called where the last reference ends."""
        self._asyncgens.discard(generator)  # type: ignore[attr-defined]
        if not self.is_closed():
            self.call_soon_threadsafe(self._close_generator, mailbox, generator)

    def _close_generator(self, mailbox: Mailbox, generator: AsyncGenerator[Any, Any]) -> None:
        ThreadTask(generator.aclose(), loop=self, mailbox=mailbox).begin()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if get_ident() == self.thread:
            return super().call_soon(callback, *args, context=context)
        return self.touched(super().call_soon, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if get_ident() == self.thread:
            return super().call_at(when, callback, *args, context=context)
        task = current_task()
        wakes = task is not None and task.wakes_loop
        handle = self.touched(super().call_at, when, callback, *args, context=context)
        if task is not None and when >= self.waits_until:
            # The loop wakes before that by itself, and then looks for what is next. Should it wake just now, or the
            # lock be lost, it has looked already, or is woken once too often.
            task.wakes_loop = wakes
        return handle

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        """asyncio looks here for the current task, by the loop: that is a task's own only while it has the lock."""
        if not TASK_PER_THREAD and get_ident() != self.thread:
            task = current_task()
            if task is not None and task.loop is self and self.lock.holder is not task:
                task.take_lock()
        return id(self) >> 4


def _nothing() -> None:
    """What wakes a loop."""


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: contextvars.Context | None = None, **options: Any
) -> asyncio.Future[Any]:
    """The tasks that a thread's task makes run in the same thread; those of the loop's own thread are plain ones."""
    parent = None if isinstance(loop, ThreadedLoop) and get_ident() == loop.thread else current_task()
    if parent is None or parent.loop is not loop:
        return asyncio.Task(coroutine, loop=loop, context=context, **options)
    task = ThreadTask(coroutine, loop=parent.loop, mailbox=parent.mailbox, context=context, name=options.get("name"))
    task.begin()
    return task
