"""Views that burn the CPU, and how the rest of the process lives beside them.

Python runs one thread at a time. A native request that needs the interpreter waits for every thread that is hungry for
it, each for a switch interval. So two things are done while views burn, and only then: the interval gets short, and the
kinds of request that burn are let in two at a time. That costs them nothing, as they share one interpreter anyhow.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from time import monotonic
from typing import Any, Protocol

# How often the threads at work are watched for hogs, in seconds.
TICK = 0.02
# A thread that burned so much within one job, in seconds of its own CPU clock, is a hog.
HOG = 0.01
# The switch interval while there are hogs, in seconds; Python's own is 0.005.
INTERVAL = 0.0002
# How many hogs run at the same time.
ABREAST = 2
# How long what was learned about a kind of request is believed, in seconds.
MEMORY = 60.0
# More kinds than this are not remembered: paths come from strangers.
KINDS = 500
# It takes so many such jobs in a row to acquit their kind: a busy machine makes one look like waiting.
DOUBTS = 3
# A job that took this many times longer than it burned was mostly waiting: for I/O, not for the interpreter.
WAITING = 5.0

_VARIABLE = re.compile(r"/[^/]*\d[^/]*")


def kind(method: str, path: str) -> str:
    """What requests of one view have in common, as far as the path tells: ``GET /report/*`` for ``/report/17``."""
    return f"{method} {_VARIABLE.sub('/*', path[:200])}"


class Hogs:
    """The kinds of request that burn, learned from the jobs that were seen to do it."""

    def __init__(self) -> None:
        self._suspected: dict[str, float] = {}
        self._acquitted: dict[str, float] = {}
        self._doubts: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._suspected)

    def __contains__(self, name: str) -> bool:
        return self._suspected.get(name, 0.0) > monotonic()

    def suspect(self, name: str) -> None:
        """It was seen burning. One that was acquitted lately stays free."""
        now = monotonic()
        if name and self._acquitted.get(name, 0.0) <= now:
            self._make_room(self._suspected, now)
            self._suspected[name] = now + MEMORY

    def judge(self, name: str, burned: float, took: float) -> None:
        """It has ended: ``took`` is its share of the clock, in seconds, which tells whether it burned or waited."""
        if burned >= HOG and took <= WAITING * burned:
            self._doubts.pop(name, None)
            self.suspect(name)
            return
        doubts = self._doubts[name] = self._doubts.get(name, 0) + 1
        if doubts >= DOUBTS:
            self._acquit(name)

    def _acquit(self, name: str) -> None:
        now = monotonic()
        self._suspected.pop(name, None)
        self._doubts.pop(name, None)
        self._make_room(self._acquitted, now)
        self._acquitted[name] = now + MEMORY

    def _make_room(self, book: dict[str, float], now: float) -> None:
        if len(book) >= KINDS:
            for name in [name for name, until in book.items() if until <= now] or list(book)[: KINDS // 2]:
                book.pop(name, None)
                self._doubts.pop(name, None)


class Kinded(Protocol):
    """A job, as far as this lane goes."""

    @property
    def kind(self) -> str: ...


class SlowLane:
    """Where jobs of kinds that burn wait, to be let in a few abreast.

    ``burning`` is how many threads did when the loop last looked.
    """

    def __init__(self) -> None:
        self.jobs: deque[Any] = deque()
        self.abreast: set[Kinded] = set()
        self.hogs = Hogs()
        self.burning = 0
        self._lock = threading.Lock()

    def in_use(self) -> bool:
        return bool(self.jobs) or bool(self.hogs)

    def is_open(self) -> bool:
        """Whether a job waits here that may be let in."""
        return bool(self.jobs) and len(self.abreast) < ABREAST

    def sort_out(self, line: deque[Any]) -> None:
        """Move the hogs at the head of ``line`` in here."""
        while line and self.hogs:
            try:
                job = line.popleft()
            except IndexError:  # another worker was quicker
                return
            if job.kind not in self.hogs:
                line.appendleft(job)
                return
            self.jobs.append(job)

    def take(self) -> Any:
        """The next job, or None when none may be let in."""
        with self._lock:
            if not self.is_open():
                return None
            job = self.jobs.popleft()
            self.abreast.add(job)
            return job

    def leave(self, job: Kinded, burned: float, took: float) -> bool:
        """``job`` has ended. False when it was not let in from here."""
        if job not in self.abreast:
            return False
        self.hogs.judge(job.kind, burned, took / max(self.burning, 1))
        with self._lock:
            self.abreast.discard(job)
        return True


class Interval:
    """The process's switch interval: short while anyone asks for it, else as it was."""

    def __init__(self) -> None:
        self._asking: set[int] = set()
        self._usual = sys.getswitchinterval()

    def shorten(self, asker: object) -> None:
        if not self._asking:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(min(INTERVAL, self._usual))
        self._asking.add(id(asker))

    def restore(self, asker: object) -> None:
        if id(asker) in self._asking:
            self._asking.discard(id(asker))
            if not self._asking:
                sys.setswitchinterval(self._usual)


INTERVAL_OF_PROCESS = Interval()
