"""One worker thread for all calls of a request, from its first to the last."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable
from typing import Any, TypeVar

from graft.threads.parking import Parking
from graft.threads.pool import Pool, PoolCall, PoolFull
from graft.threads.scheduler import Job
from graft.threads.worker import current

log = logging.getLogger("graft.legacy")

T = TypeVar("T")

# How often a waiting thread looks whether its loop is still there, in seconds.
PULSE = 5.0


class RequestThread(Job):
    """What a request keeps in thread-local storage, as a sqlite3 connection or a scoped session, it meets in each call.

    Called on the loop. The first call waits for a thread of the pool like any job, and may find it full. Between two
    calls the thread is parked: it counts against no limit, so a later call never waits for another request to end.
    ``release`` gives the thread back; without it the thread is lost.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.scheduler())
        self._pool = pool
        self._calls: queue.SimpleQueue[PoolCall | None] = queue.SimpleQueue()
        self._submitted = False
        self._released = False

    async def call(self, fn: Callable[..., T], *args: Any) -> T:
        """``fn(*args)`` in the thread, with the caller's ContextVars copied. Raises PoolFull, and what ``fn`` raises.

        A cancelled caller leaves at once: a call that waits is dropped, one that runs is left to end on its own.
        """
        call = PoolCall(fn, args, self.scheduler)
        self._calls.put(call)  # before the job: a thread that found nothing would park, and be one above the limit
        if not self._submitted:
            try:
                self._pool.submit(self)
            except PoolFull:
                call.dropped = True
                raise
            self._submitted = True
        try:
            return await call.future  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            call.dropped = True
            if self._pool.discard(self):  # no thread has begun it, and none needs to
                self._submitted = False
            raise

    def release(self) -> None:
        """No further call comes. What is on the way still runs."""
        if not self._released:
            self._released = True
            self._calls.put(None)

    def run(self) -> None:
        """In the thread: one call after the other."""
        while True:
            call = self._next()
            if call is None:
                return
            if not call.dropped:
                call.run()
            if self.overdue:
                self.overdue = False
                log.warning("the thread %s is back from a request that was given up", current.worker.thread.name)

    def _next(self) -> PoolCall | None:
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            pass
        with Parking(lambda: None):
            while True:
                try:
                    return self._calls.get(timeout=PULSE)
                except queue.Empty:
                    if self.scheduler.loop.is_closed():
                        return None
