"""Threads that wait for a loop: they do not count as being at work, and come back to it in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.legacy.crew import Worker
    from graft.legacy.desk import Desk, Job

here = threading.local()
"""``here.worker`` is the calling thread's worker, where it is one of a pool's."""


class Parking:
    """A worker thread that waits for a loop and does not count against its pool's limit meanwhile.

    ``wake`` ends its wait. ``over`` does that in turn: at once when no other thread of the pool is at work, else when
    one has ended what it does. Threads that all wake at once would fight over the interpreter with each other and with
    the loop.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._worker: Worker | None = getattr(here, "worker", None)

    def __enter__(self) -> Parking:
        if self._worker is not None:
            self._park(self._worker)
            self._worker.crew.call_next()
        return self

    def __exit__(self, *error: object) -> None:
        if self._worker is not None:
            self._unpark(self._worker)

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """For a moment in which the thread does work after all."""
        worker = self._worker
        if worker is None:
            yield
            return
        self._unpark(worker)
        try:
            yield
        finally:
            self._park(worker)

    def over(self, desk: Desk) -> None:
        """The wait is over. Called on the loop of ``desk``, which is the one that the worker's job came from."""
        crew = self._worker.crew if self._worker is not None else None
        if crew is not None and crew.is_moving():
            crew.ready.append(self)
            desk.look_out(crew)
        else:
            self.end()

    def end(self) -> None:
        """The wait is over, at once. From any thread."""
        if self._worker is not None:
            self._unpark(self._worker)  # from now on it counts as being at work, so that the next one is not woken too
        self._wake()

    @staticmethod
    def _park(worker: Worker) -> None:
        worker.worked += monotonic() - worker.began
        with worker.crew.hiring:
            worker.parked = True
            worker.crew.parked += 1

    @staticmethod
    def _unpark(worker: Worker) -> None:
        crew = worker.crew
        with crew.hiring:
            if not worker.parked:
                return
            worker.parked = False
            crew.parked -= 1
        crew.taken = worker.began = monotonic()


def worker_job() -> Job | None:
    """The job that the calling thread works on; None in a thread of no pool."""
    worker: Worker | None = getattr(here, "worker", None)
    return None if worker is None else worker.job
