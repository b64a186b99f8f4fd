"""Threads of their own for what lasts as long as a connection: no place in a pool's queue, and none of its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from graft.errors import GraftError
from graft.threads.app_thread import AppThread


class ThreadsFull(GraftError):
    """As many threads as there may be are at work."""


class ConnectionThreads:
    """At most ``limit`` threads in this process. ``start`` belongs to the loop.

    Their stacks have the system's usual size, as under Gunicorn: only what is used takes memory, and a smaller one ends
    the process where a recursion through C code should end in a RecursionError.
    """

    def __init__(self, limit: int, name: str) -> None:
        self.limit = limit
        self._name = name
        self._open = 0
        self._started = 0
        self._counting = threading.Lock()

    @property
    def open(self) -> int:
        return self._open

    def admit(self) -> None:
        """Raise ThreadsFull when ``start`` would."""
        if self._open >= self.limit:
            raise ThreadsFull(self._name, self.limit)

    def start(self, run: Callable[[], None]) -> None:
        """Call ``run``, which may not raise, in a thread of its own. Raises ThreadsFull."""
        self.admit()  # threads only ever end beside the loop, so there is still room below
        with self._counting:
            self._open += 1
            self._started += 1
        thread = AppThread(target=self._run, args=(run,), name=f"{self._name}-{self._started}")
        try:
            thread.start()
        except BaseException:
            self._count_down()
            raise

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        finally:
            self._count_down()

    def _count_down(self) -> None:
        with self._counting:
            self._open -= 1
