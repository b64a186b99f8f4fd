"""Deadlines: many runs that each have the same number of seconds, with one timer for all of them. (event loop)

``asyncio.timeout`` sets a timer for each, which the loop has to sort in and to throw away again: a fifth of what a
mirrored request costs beside the two sides' own work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context


class Deadline:
    """That of one run: the task that is cancelled, until the run has ended."""

    __slots__ = ("at", "cancelling", "expired", "task")

    def __init__(self, task: asyncio.Task[object], at: float) -> None:
        self.task: asyncio.Task[object] | None = task
        self.cancelling = task.cancelling()
        self.at = at
        self.expired = False

    def expire(self) -> None:
        if self.task is not None:
            self.expired = True
            self.task.cancel()


class Deadlines:
    """All of one loop. They end in the order in which they began, since all have as long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: deque[Deadline] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Deadline:
        """For the calling task, from now on."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        deadline = Deadline(task, loop.time() + self.seconds)
        self._running.append(deadline)
        if self._timer is None:
            # In no run's context: it would keep that run, and all that it has, until the timer is due.
            self._timer = loop.call_at(deadline.at, self._look, context=Context())
        return deadline

    def end(self, deadline: Deadline) -> bool:
        """The run has ended. Was it this deadline, and nobody else, that has cancelled it?"""
        task, deadline.task = deadline.task, None
        while self._running and self._running[0].task is None:
            self._running.popleft()
        return deadline.expired and task is not None and task.uncancel() <= deadline.cancelling

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._running and (self._running[0].task is None or self._running[0].at <= now):
            self._running.popleft().expire()
        self._timer = loop.call_at(self._running[0].at, self._look) if self._running else None

    def close(self) -> None:
        """Nothing runs any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
