"""A deadline that is moved far more often than it is met."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """One timer of the loop for all the times that a connection waits for something. (loop)

    Setting it anew does not touch the timer as long as that goes off early enough: it then looks whether it is time.
    """

    __slots__ = ("_action", "_loop", "_timer", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.due = 0.0  # by the loop's clock; 0: nothing is waited for
        self._action: Callable[[], object] | None = None

    def set(self, seconds: float, action: Callable[[], object]) -> None:
        """Call ``action`` in so many seconds, and nothing that was set before."""
        self.due = due = self._loop.time() + seconds
        self._action = action
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)
        elif self._timer.when() > due + 0.01:
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._look)

    @property
    def running(self) -> bool:
        return bool(self.due)

    def clear(self) -> None:
        self.due = 0.0

    def end(self) -> None:
        """The connection is over: no timer is left behind."""
        if self._timer is not None:
            self._timer.cancel()
        self.due, self._timer, self._action = 0.0, None, None

    def _look(self) -> None:
        self._timer = None
        if not self.due:
            return
        if self.due > self._loop.time() + 0.002:
            self._timer = self._loop.call_at(self.due, self._look)
        elif self._action is not None:
            self.due = 0.0
            self._action()
