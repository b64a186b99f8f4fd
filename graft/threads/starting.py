"""Starting threads where the system may have none to give: a limit of processes (``ulimit -u``, a container's pids), or
no memory. ``start`` for our own, ``DefaultExecutor`` for those of ``asyncio.to_thread``."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from graft.errors import GraftError

log = logging.getLogger("graft.threads")

QUIET = 60.0
"""Seconds between two lines about the same want: it would be one a request."""


class NoThread(GraftError):
    """The system gives no thread, and there is none that could do it later. A client is told to try again: 503."""


def start(thread: threading.Thread) -> bool:
    """Start it. False when the system gives none; that is told in the log, now and then. (any thread)"""
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        _want.tell(error)
        return False
    _want.is_over()
    return True


class _Want:
    """What the log was told. Two threads may both tell it: a line too many is no harm."""

    def __init__(self) -> None:
        self._told: float | None = None
        self._is_over = True

    def tell(self, error: BaseException) -> None:
        if self._told is None or monotonic() - self._told > QUIET:
            self._told, self._is_over = monotonic(), False
            log.error(
                "can't start another thread: %s. Requests wait for the threads there are, or are answered 503. "
                "Raise the limit of processes and threads (ulimit -u, TasksMax=, --pids-limit)",
                error,
            )

    def is_over(self) -> None:
        if not self._is_over:
            self._is_over = True
            log.info("threads can be started again")


_want = _Want()


class DefaultExecutor(ThreadPoolExecutor):
    """Waits for the threads there are when the system gives no more. Raises NoThread where there is none.

    The standard one raises RuntimeError though others of its threads are about to be free, and runs the call all the
    same. Both for want of a look at what ``Thread.start`` raised in ``_adjust_thread_count``, which is called for each
    call that was put into ``_work_queue``, under a lock. Read in Python 3.11 to 3.14.
    """

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except (RuntimeError, MemoryError) as error:
            _want.tell(error)
            if not self._threads:
                self._work_queue.get_nowait()  # nobody else takes it, and the caller is told so
                raise NoThread("The system gives no thread.") from None
        else:
            _want.is_over()
