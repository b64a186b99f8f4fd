"""Where worker threads and one event loop meet: jobs are described, finished ones announced, the queue watched."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from graft.threads import slow_views
from graft.threads.slow_views import INTERVAL_OF_PROCESS

# How long a thread that is at work may take, in seconds, before it counts as blocked and another one is called.
PATIENCE = 0.001


class Crossed(Protocol):
    """Work of a job that goes on on a loop, while its thread waits parked."""

    done: bool

    def cancel(self) -> None: ...


class Job:
    """What a pool runs, for the loop whose ``desk`` it came from. ``overdue``: its caller has given up on it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.overdue = False

    def run(self) -> None:
        """Do the work, in a worker thread; must not raise."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """What jobs that do the same have in common; empty when there is nothing to learn from it."""
        return ""

    def crossed(self, work: Crossed) -> None:
        """Be told, on the loop, that the job now waits for a coroutine."""


class Line(Protocol):
    """The queue of a pool and the threads behind it, as a desk sees them. ``dismissed``: the threads are to end."""

    dismissed: bool

    def waits(self) -> bool:
        """Whether there is anything that a thread could do."""

    def is_moving(self) -> bool:
        """Whether a thread that is awake may be expected to do it soon."""

    def call_next(self) -> bool:
        """Wake whoever is to work next. False when all that may work do."""

    def hog_count(self) -> int:
        """How many threads burn the CPU."""

    def at_work(self) -> bool:
        """Whether any thread has a job."""


class Desk:
    """Where the threads of a pool meet one loop: they announce finished work, it watches that the queue moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.news: deque[Callable[[], None]] = deque()
        self.called = False
        self.looking = False
        self.watching = False

    def post(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on the loop soon; from any thread. News that come together cross together."""
        self.news.append(callback)
        if not self.called:
            self.called = True
            try:
                self.loop.call_soon_threadsafe(self._hand_out)
            except RuntimeError:  # the loop is closed: nobody waits there any more
                self.news.clear()
                self.called = False

    def _hand_out(self) -> None:
        self.called = False
        news = self.news
        while news:
            news.popleft()()

    def look_out(self, line: Line) -> None:
        """See to it that the queue moves: look in a moment, and call another worker when it has not moved."""
        if not self.looking:
            self.looking = True
            self.loop.call_later(PATIENCE, self._look, line)

    def watch(self, line: Line) -> None:
        """Have an eye on the threads while they work, for views that burn."""
        if not self.watching:
            self.watching = True
            self.loop.call_later(slow_views.TICK, self._watch, line)

    def _watch(self, line: Line) -> None:
        self.watching = False
        if line.hog_count() and not line.dismissed:
            INTERVAL_OF_PROCESS.shorten(line)
        else:
            INTERVAL_OF_PROCESS.restore(line)
        if line.at_work():
            self.watch(line)

    def _look(self, line: Line) -> None:
        self.looking = False
        if line.waits() and (line.is_moving() or line.call_next()):
            self.look_out(line)
