"""A worker whose threads hang for ever makes room for another one.

A thread that is inside the legacy app can't be stopped. When the requests of most of them were given up, and none comes
back, whatever this worker is asked next waits and gets 504. So it leaves: it says where its threads hang, and drains as
after SIGTERM; Gunicorn starts another one. Under other servers nobody would, and it only says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graft.cancellation import cancel_and_wait
from graft.threads.pool import Pool
from graft.threads.worker import describe_thread

if os.name != "nt":
    import fcntl

SECONDS = 30.0
"""For so long the share has to be stuck."""

LOOK = 0.5  # seconds between two looks
TURN = 60.0  # seconds after which another worker may leave, should this one still drain
HOPELESS = 2.0  # seconds that a worker that leaves for its stuck threads waits for them at its end
PLACES = 5  # that the log tells
FILE = "replacing.lock"

log = logging.getLogger("graft.threads")


class StuckThreads:
    """Watches over ``pool``: ``share`` percent of its threads, stuck for SECONDS, are too many. (event loop)"""

    def __init__(self, pool: Pool, share: float, folder: Path) -> None:
        self._pool = pool
        self._share = share
        self._folder = folder
        self.leaves = False
        self._since: float | None = None
        self._told = False
        self._lock: int | None = None

    async def watch(self) -> None:
        """Ends when this worker leaves."""
        while not self._leave_if_stuck():
            await asyncio.sleep(LOOK)
        await asyncio.sleep(TURN)
        self.close()

    def close(self) -> None:
        """It is another worker's turn to leave."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _leave_if_stuck(self) -> bool:
        stuck = self._pool.stuck_threads()
        now = time.monotonic()
        if not stuck or len(stuck) * 100 < self._share * self._pool.threads:
            self._since, self._told = None, False
            return False
        if self._since is None:
            self._since = now
        if now - self._since < SECONDS:
            return False
        if not is_replaced():
            self._tell(stuck, "Restart it: there is no Gunicorn that would start another one")
            return False
        if not self._is_our_turn():
            return False
        self._tell(stuck, "it drains and exits, and another one takes its place")
        self.leaves = True
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    def _tell(self, stuck: list[int], what: str) -> None:
        if not self._told:
            self._told = True
            places = Counter(describe_thread(thread) for thread in stuck).most_common(PLACES)
            where = "; ".join(f"{number} x {place}" for place, number in places)
            message = "%d of the %d threads of worker %s have been stuck for %g s: %s. %s"
            log.error(message, len(stuck), self._pool.threads, os.getpid(), SECONDS, what, where)

    def _is_our_turn(self) -> bool:
        """One worker of a host at a time: what makes the threads hang may be over by the time of the next."""
        if os.name == "nt":
            return True
        try:
            lock = os.open(self._folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True  # a folder that can't be written must not keep a site from coming back
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True


def is_replaced() -> bool:
    """Whether somebody starts another worker when this one ends: Gunicorn, whose code is in each of its workers."""
    return "gunicorn.arbiter" in sys.modules


@asynccontextmanager
async def watching(pool: Pool, share: float, folder: Path) -> AsyncIterator[StuckThreads]:
    """For the lifespan. ``share`` 0 is off."""
    watch = StuckThreads(pool, share, folder)
    task = asyncio.create_task(watch.watch()) if share else None
    try:
        yield watch
    finally:
        # The lock is kept until the process ends, when the system takes it away: threads may take long to close.
        if task is not None:
            await cancel_and_wait([task])
