"""A worker thread that waits for a coroutine on a loop does not count against its pool's limit meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graft.threads.scheduler import Scheduler
from graft.threads.worker import Worker, current

if TYPE_CHECKING:
    from graft.threads.worker_threads import WorkerThreads


class Parking:
    """The time in which the calling worker thread waits for a loop. Entered and left in that thread.

    ``wake`` ends the wait. ``over`` does that in turn: at once when no other thread of the pool is at work, else when
    one has ended what it does. Threads that all wake at once would fight over the interpreter with each other and with
    the loop. In a thread of no pool there is nothing to count.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._worker: Worker | None = getattr(current, "worker", None)
        self._workers: WorkerThreads | None = getattr(current, "workers", None)

    def __enter__(self) -> Parking:
        self._park()
        if self._workers is not None:
            self._workers.wake_next()
        return self

    def __exit__(self, *error: object) -> None:
        self._unpark()

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """For a moment in which the thread does work after all."""
        self._unpark()
        try:
            yield
        finally:
            self._park()

    def over(self, scheduler: Scheduler) -> None:
        """The wait is over. Called on the loop of ``scheduler``, which is the one that the worker's job came from."""
        workers = self._workers
        if workers is not None and workers.is_moving():
            # The thread that is moving may have looked into ready just before this line, and then sleeps: the check
            # comes later on this loop, and wakes what is left there.
            workers.ready.append(self)
            scheduler.check_queue_soon(workers)
        else:
            self.end()

    def end(self) -> None:
        """The wait is over, at once. From any thread."""
        # Unparked by the one that wakes it, not by itself when it is awake: until then it would count as parked, and
        # the next one would be woken beside it.
        self._unpark()
        self._wake()

    def _park(self) -> None:
        if self._worker is not None and self._workers is not None:
            self._workers.park(self._worker)

    def _unpark(self) -> None:
        if self._worker is not None and self._workers is not None:
            self._workers.unpark(self._worker)


class LoopParking(Parking):
    """Parks a worker thread that waits for a coroutine on a loop in another thread, for as long as that waits as well:
    while the coroutine runs, or the worker does something for it, they count as one that works. ``park`` and ``unpark``
    are for the loop's thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(wake)
        self._changing = threading.Lock()
        self._at_work = 2

    def __enter__(self) -> LoopParking:
        self._park()
        return self

    def park(self) -> None:
        """The loop waits for I/O."""
        self._park()

    def unpark(self) -> None:
        """The coroutine goes on."""
        self._unpark()

    def _park(self) -> None:
        with self._changing:
            self._at_work -= 1
            parks = self._at_work == 0
            if parks:
                super()._park()
        if parks and self._workers is not None:
            self._workers.wake_next()

    def _unpark(self) -> None:
        with self._changing:
            self._at_work += 1
            if self._at_work == 1:
                super()._unpark()
