"""Where the worker threads of a pool meet one event loop.

Threads post callbacks to the loop; the loop checks that the queue moves and looks for views that burn the CPU.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Protocol

from graft.threads import slow_views
from graft.threads.slow_views import SWITCH_INTERVAL

# How long a thread that is at work may take, in seconds, before it counts as blocked and another one is woken.
PATIENCE = 0.001


class LoopCall(Protocol):
    """A coroutine of a job that runs on a loop while the job's thread is parked."""

    done: bool

    def cancel(self) -> None: ...


class Job:
    """What a pool runs, for the loop of ``scheduler``. ``overdue``: its caller has given up on it."""

    overdue = False

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    def run(self) -> None:
        """Do the work, in a worker thread; must not raise."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """What jobs of one view have in common; empty when there is nothing to learn from it."""
        return ""

    def must_wait(self) -> None:
        """Called on the loop, perhaps more than once: the job is in the queue, and all that may work do."""

    def waits_for(self, call: LoopCall) -> None:
        """Its thread is parked until ``call`` is done. Called in any thread."""


class ThreadGroup(Protocol):
    """The threads and the queue of a pool, as a scheduler sees them. ``stopping``: the threads are to end."""

    stopping: bool

    def can_proceed(self) -> bool:
        """Whether there is anything that another thread could do."""

    def is_moving(self) -> bool:
        """Whether a thread that is awake may be expected to do it soon."""

    def wake_next(self) -> bool:
        """Wake whoever is to work next. False when all that may work do."""

    def queued_jobs(self) -> list[Job]:
        """The jobs that no thread has begun."""

    def count_slow_views(self) -> int:
        """How many threads burn the CPU."""

    def any_busy(self) -> bool:
        """Whether any thread has a job."""


class Scheduler:
    """Runs callbacks of a pool's threads on ``loop``, and wakes another thread when the queue stands still.

    All of it runs on the loop but ``post``, which any thread may call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.callbacks: deque[Callable[[], None]] = deque()
        # Of no request: a callback runs beside those of other threads, and must not see what one of them has set.
        self._context = contextvars.Context()
        self.wakeup_sent = False
        self.checking_queue = False
        self.watching_threads = False

    def post(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on the loop soon; from any thread. Callbacks posted together cost one wake-up.

        The callback is appended before ``wakeup_sent`` is read; the loop clears ``wakeup_sent`` before it empties the
        deque. So a thread that saw True, and sends no wake-up, appended before the loop began to empty it: no callback
        is left behind. Two threads may both see False; the second wake-up then finds an empty deque.
        """
        self.callbacks.append(callback)
        if not self.wakeup_sent:
            self.wakeup_sent = True
            try:
                self.loop.call_soon_threadsafe(self._run_callbacks, context=self._context)
            except RuntimeError:  # the loop is closed: nobody waits there any more
                self.callbacks.clear()
                self.wakeup_sent = False

    def _run_callbacks(self) -> None:
        self.wakeup_sent = False  # before the deque is emptied: see post
        callbacks = self.callbacks
        while callbacks:
            try:
                callbacks.popleft()()
            except Exception as error:  # those behind it are other requests'
                self.loop.call_exception_handler(
                    {"message": "a callback of a worker thread failed", "exception": error}
                )

    def check_queue_soon(self, threads: ThreadGroup) -> None:
        """Look at the queue in a moment, and wake another thread when it has not moved."""
        if not self.checking_queue:
            self.checking_queue = True
            self.loop.call_later(PATIENCE, self._check_queue, threads)

    def _check_queue(self, threads: ThreadGroup) -> None:
        self.checking_queue = False
        if not threads.can_proceed():
            return
        if threads.is_moving() or threads.wake_next():
            self.check_queue_soon(threads)
            return
        # They were submitted while a thread counted as moving, which then blocked: nobody told them yet.
        for job in threads.queued_jobs():
            if job.scheduler is self:
                job.must_wait()

    def watch_threads(self, threads: ThreadGroup) -> None:
        """Look for views that burn the CPU, every few milliseconds for as long as any thread works."""
        if not self.watching_threads:
            self.watching_threads = True
            self.loop.call_later(slow_views.TICK, self._watch_threads, threads)

    def _watch_threads(self, threads: ThreadGroup) -> None:
        self.watching_threads = False
        if threads.count_slow_views() and not threads.stopping:
            SWITCH_INTERVAL.shorten(threads)
        else:
            SWITCH_INTERVAL.restore(threads)
        if threads.any_busy():
            self.watch_threads(threads)
