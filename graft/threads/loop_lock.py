"""The lock of a loop whose tasks run in threads of their own, and the looks at who holds it.

A holder that is blocked (in SQL, in ``time.sleep``, in a lock that another task has) keeps the loop from all others. So
while somebody waits for the lock a thread looks at its holder every half millisecond, and takes the lock away from one
that stands still. A step that does that in the app's own code is expected to do it again: next time it begins without
the lock, and waits for it when it first touches the loop.
"""

from __future__ import annotations

import inspect
import os
import threading
from functools import cache
from time import monotonic, sleep
from types import CodeType, FrameType
from typing import Protocol

from graft.threads.starting import start

LOOK_EVERY = 0.0004
"""Seconds between two looks at a holder, while somebody waits."""

PATIENCE = 0.001
"""Seconds that somebody waits before the looks begin."""

LINGER = 0.02
"""Seconds for which the thread goes on looking when nobody waits any more: soon somebody will."""

BLOCKED = 0.0015
"""Seconds at one place without CPU after which a holder in the app's own code is blocked ..."""

BLOCKED_IN_LIBRARY = 0.02
"""... and one in the middle of a library's coroutine, which counts on having the loop to itself: a client's pool."""

LATE = 0.002
"""A look that came so much later than it should, in seconds, does not count: the machine is busy, and the holder may
just wait for the interpreter or a processor."""

BLOCKED_ANYHOW = 0.1
"""Seconds at one place after which no look is late any more."""

BURNED = 0.25
"""Seconds of CPU after which a step that computes is taken for the app's own work, not a library's few lines."""

TOO_LONG = 2.0
"""Seconds after which the lock is taken away whatever the holder does."""

WAITED = 0.001
"""A step that began without the lock and waited for less than this in all, in seconds, did not block."""

MAX_STEPS = 1000
BELIEVED = 3
"""So many times in a row a step that has blocked may not block, and is still expected to."""

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep

Step = tuple[str, str, int, int]
"""The steps that different tasks have in common: name, file and line of a coroutine, and where it goes on."""


class Holder(Protocol):
    """What may hold a loop's lock. ``firm``: it is never taken away. All are called under the lock's guard."""

    firm: bool

    def cpu_time(self) -> float:
        """Of its thread, in seconds; a steady number where the system does not tell."""

    def frame(self) -> FrameType | None:
        """Where its thread is at this moment."""

    @property
    def code(self) -> CodeType | None:
        """Of the coroutine that it runs."""

    @property
    def untouched_step(self) -> Step | None:
        """What it does, as long as it has not touched the loop for it."""

    def got_lock(self) -> None:
        """In the thread that waited for it."""

    def lost_lock(self) -> None:
        """In the thread that gave it back, or in the one that took it away."""


class LoopLock:
    """A mutex that is taken away from a holder that is blocked.

    ``guard`` is held, for microseconds, by who takes the lock away and by a holder that touches the loop: so a holder
    that has looked whether the lock is still its own does not lose it before it has done what it looked for.
    """

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.holder: Holder | None = None
        self._lock = threading.Lock()
        self.blocking_steps = BlockingSteps()
        self._watch = _Watch()
        # Written under the guard.
        self._grants = 0
        self._waiting = 0  # threads that have waited for longer than PATIENCE
        self._watcher: threading.Thread | None = None
        self._watching = False
        self._ended = False
        self._wake_watcher = threading.Semaphore(0)

    def acquire(self, holder: Holder) -> None:
        """Wait for the lock. In any thread that does not hold it."""
        if not self._lock.acquire(timeout=PATIENCE):
            self._wait()
        with self.guard:
            self.holder = holder
            self._grants += 1
            holder.got_lock()

    def release(self, holder: Holder) -> None:
        """Give the lock back, unless it was taken away."""
        with self.guard:
            if self.holder is holder:
                self._free(holder)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for longer than a moment."""
        return self._waiting > 0

    def end(self) -> None:
        """The loop is closed. In the thread that ran it."""
        with self.guard:
            self._ended, self._watching = True, False
            watcher = self._watcher
        if watcher is not None:
            self._wake_watcher.release()
            watcher.join()

    def _free(self, holder: Holder) -> None:
        holder.lost_lock()
        self.holder = None
        self._lock.release()

    def _wait(self) -> None:
        with self.guard:
            self._waiting += 1
            self._have_watched()
        while not self._lock.acquire(timeout=1 if self._watching else LOOK_EVERY):
            if not self._watching:  # the system gives no thread for it, or the loop has ended
                self._look()
        with self.guard:
            self._waiting -= 1

    def _have_watched(self) -> None:
        """Under the guard: the watcher goes to sleep there too, and can't have seen nobody waiting since we counted."""
        if not self._watching and not self._ended:
            if self._watcher is None:
                watcher = threading.Thread(target=self._watch_holders, name="legacy-loop-lock", daemon=True)
                if not start(watcher):
                    return
                self._watcher = watcher
            self._watching = True
            self._wake_watcher.release()

    def _watch_holders(self) -> None:
        try:
            while not self._ended:
                self._wake_watcher.acquire()
                self._look_while_wanted()
        finally:  # after an error the next one who waits starts another thread
            with self.guard:
                self._watching, self._watcher = False, None

    def _look_while_wanted(self) -> None:
        last_wait = monotonic()
        while self._watching:
            sleep(LOOK_EVERY)
            if self.is_wanted:
                last_wait = monotonic()
                self._look()
            elif monotonic() - last_wait > LINGER:
                with self.guard:
                    self._watching = self.is_wanted and not self._ended

    def _look(self) -> None:
        """Take the lock away from a holder that is blocked."""
        with self.guard:
            holder = self.holder
            if holder is None or holder.firm or not self._watch.is_blocked(holder, self._grants):
                return
            if self._watch.is_own and holder.untouched_step is not None:
                self.blocking_steps.blocked(holder.untouched_step)
            self._free(holder)


class BlockingSteps:
    """The steps that are expected to block in the app's own code before they touch the loop. In any thread.

    A change that another thread overtakes has a step begin with the lock, or without it, once more than it should.
    """

    def __init__(self) -> None:
        self._credit: dict[Step, int] = {}

    def __contains__(self, step: Step) -> bool:
        return step in self._credit

    def blocked(self, step: Step) -> None:
        if len(self._credit) >= MAX_STEPS:
            self._credit.clear()
        self._credit[step] = BELIEVED

    def waited(self, step: Step, seconds: float) -> None:
        """It began without the lock, and spent so many seconds without CPU."""
        if seconds >= WAITED:
            self._credit[step] = BELIEVED
            return
        credit = self._credit.get(step, 0) - 1
        if credit > 0:
            self._credit[step] = credit
        else:
            self._credit.pop(step, None)


class _Watch:
    """The looks at one holder after the other. Under the lock's guard."""

    is_own = False
    """Whether the holder that is blocked is so in the app's own code."""

    _grant = 0
    _began = _looked = _at_place_since = _still_since = 0.0
    _burned_before = _burned = 0.0
    _place: tuple[CodeType, int] | None = None

    def is_blocked(self, holder: Holder, grant: int) -> bool:
        """Whether it stands still, or computes for long. ``grant``: which of all the times the lock was given."""
        frame, burned, now = holder.frame(), holder.cpu_time(), monotonic()
        if frame is None:
            return False
        place = frame.f_code, frame.f_lasti
        is_new = grant != self._grant
        if is_new:
            self._grant, self._began, self._burned_before = grant, now, burned
        if is_new or place != self._place or burned - self._burned > (now - self._looked) / 20:
            self._at_place_since = self._still_since = now
        elif now - self._looked > LOOK_EVERY + LATE and now - self._at_place_since < BLOCKED_ANYHOW:
            self._still_since = now
        self._place, self._burned, self._looked = place, burned, now
        still = now - self._still_since
        self.is_own = still >= BLOCKED and is_in_own_code(frame, holder.code)
        return (
            self.is_own
            or still >= BLOCKED_IN_LIBRARY
            or burned - self._burned_before > BURNED
            or now - self._began > TOO_LONG
        )


def is_in_own_code(frame: FrameType | None, root: CodeType | None) -> bool:
    """Whether ``frame`` was called, by plain code, from a coroutine of the app's: of its files, or of the package that
    the task's own coroutine, ``root``, is of."""
    while frame is not None and not frame.f_code.co_flags & _ASYNC:
        frame = frame.f_back
    if frame is None:
        return False
    library = _library(frame.f_code.co_filename)
    return library is None or (library != "" and root is not None and library == _library(root.co_filename))


@cache
def _library(file: str) -> str | None:
    """The installed package that ``file`` is of, ``""`` for Python's own; None for what is the app's."""
    for folder in ("site-packages", "dist-packages"):
        _, found, rest = file.rpartition(f"{os.sep}{folder}{os.sep}")
        if found:
            return rest.partition(os.sep)[0]
    return "" if file.startswith(_STANDARD_LIBRARY) else None
