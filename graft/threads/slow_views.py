"""Slow views: those that burn the CPU, and how the rest of the process lives beside them.

Python runs one thread at a time. A native request that needs the interpreter waits for every thread that is hungry for
it, each for a switch interval. So two things are done while views burn, and only then: the interval gets short, and
requests to such views run two at a time. That costs them nothing, as they share one interpreter anyhow.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from time import monotonic
from typing import Any, Protocol

# How often the threads at work are looked at, in seconds.
TICK = 0.02
# A job that burned so much, in seconds of its thread's CPU clock, belongs to a slow view.
SLOW = 0.01
# The switch interval while slow views run, in seconds; Python's own is 0.005.
SHORT_INTERVAL = 0.0002
# How many jobs of slow views run at the same time.
CONCURRENT = 2
# How long what was learned about a view is believed, in seconds.
MEMORY = 60.0
# More views than this are not remembered: paths come from strangers.
MAX_KINDS = 500
# So many jobs in a row that waited more than they burned clear their view: a busy machine makes one look like waiting.
CLEARED_AFTER = 3
# A job that took this many times longer than it burned was mostly waiting: for I/O, not for the interpreter. CONCURRENT
# of them at a time would leave the interpreter idle.
WAITING = 3.0
# A thread that burned less than this, in seconds, since it was last seen burning ...
IDLE = 0.0005
# ... so many seconds ago waits, and leaves its place to another job.
IDLE_FOR = 0.05

_VARIABLE = re.compile(r"/[^/]*\d[^/]*")


def kind(method: str, path: str) -> str:
    """What requests of one view have in common, as far as the path tells: ``GET /report/*`` for ``/report/17``."""
    return f"{method} {_VARIABLE.sub('/*', path[:200])}"


class SlowViews:
    """The kinds of request that burn the CPU, learned from the jobs that were seen to do it.

    Written by the loop (``mark``) and by worker threads (``record``) without a lock: each step is one operation of a
    dict, and a step that another thread overtakes leaves a kind marked or cleared a little too early or too late.
    """

    def __init__(self) -> None:
        self._slow: dict[str, float] = {}
        self._cleared: dict[str, float] = {}
        self._fast_runs: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._slow)

    def __contains__(self, name: str) -> bool:
        return self._slow.get(name, 0.0) > monotonic()

    def mark(self, name: str) -> None:
        """One of this kind was seen burning. A kind that was cleared lately stays so."""
        now = monotonic()
        if name and self._cleared.get(name, 0.0) <= now:
            self._make_room(self._slow, now)
            self._slow[name] = now + MEMORY

    def record(self, name: str, burned: float, took: float) -> None:
        """A job has ended: ``burned`` seconds of CPU in ``took`` seconds of its share of the clock."""
        if burned >= SLOW and took <= WAITING * burned:
            self._fast_runs.pop(name, None)
            self.mark(name)
            return
        fast_runs = self._fast_runs[name] = self._fast_runs.get(name, 0) + 1
        if fast_runs >= CLEARED_AFTER:
            self._clear(name)

    def _clear(self, name: str) -> None:
        now = monotonic()
        self._slow.pop(name, None)
        self._fast_runs.pop(name, None)
        self._make_room(self._cleared, now)
        self._cleared[name] = now + MEMORY

    def _make_room(self, book: dict[str, float], now: float) -> None:
        if len(book) >= MAX_KINDS:
            for name in [name for name, until in book.items() if until <= now] or list(book)[: MAX_KINDS // 2]:
                book.pop(name, None)
                self._fast_runs.pop(name, None)


class HasKind(Protocol):
    """A job, as far as this queue goes."""

    @property
    def kind(self) -> str: ...


class SlowQueue:
    """Where jobs of slow views wait; at most CONCURRENT of those that are ``running`` burn, as the loop sees it.

    ``idle`` are the others: they wait for I/O. ``burning`` is how many threads burned when the loop last looked.
    """

    def __init__(self) -> None:
        self.jobs: deque[Any] = deque()
        self.running: set[HasKind] = set()
        self.idle: set[HasKind] = set()
        self.views = SlowViews()
        self.burning = 0
        self._lock = threading.Lock()

    def in_use(self) -> bool:
        return bool(self.jobs) or bool(self.views)

    def is_open(self) -> bool:
        """Whether a job waits here that may start."""
        return bool(self.jobs) and len(self.running) - len(self.idle) < CONCURRENT

    def divert(self, queue: deque[Any]) -> None:
        """Move the jobs of slow views at the head of ``queue`` in here. Called by any worker thread.

        Two threads may each hold one popped job; put back, those two can change places. Neither can get lost, as a
        popped job belongs to the thread that popped it until it is in a deque again.
        """
        while queue and self.views:
            try:
                job = queue.popleft()
            except IndexError:  # another thread took the last one between the two lines above
                return
            if job.kind not in self.views:
                queue.appendleft(job)
                return
            self.jobs.append(job)

    def take(self) -> Any:
        """The next job, or None when none may start."""
        # Look and take are one step: two threads that both see one place left would both fill it.
        with self._lock:
            if not self.is_open():
                return None
            job = self.jobs.popleft()
            self.running.add(job)
            return job

    def see(self, job: HasKind, *, burns: bool) -> None:
        """``job`` was looked at: one that waits leaves its place, and has it again when it burns again. (loop)"""
        with self._lock:
            if burns or job not in self.running:
                self.idle.discard(job)
            else:
                self.idle.add(job)

    def finish(self, job: HasKind, burned: float, took: float) -> bool:
        """``job`` has ended. False when it did not come from here."""
        if job not in self.running:
            return False
        self.views.record(job.kind, burned, took / max(self.burning, 1))
        with self._lock:
            self.running.discard(job)
            self.idle.discard(job)
        return True


class SwitchInterval:
    """The process's switch interval: short while any pool asks for it, else as it was."""

    def __init__(self) -> None:
        self._askers: set[int] = set()
        self._usual = sys.getswitchinterval()

    def shorten(self, asker: object) -> None:
        if not self._askers:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(min(SHORT_INTERVAL, self._usual))
        self._askers.add(id(asker))

    def restore(self, asker: object) -> None:
        if id(asker) in self._askers:
            self._askers.discard(id(asker))
            if not self._askers:
                sys.setswitchinterval(self._usual)


SWITCH_INTERVAL = SwitchInterval()
