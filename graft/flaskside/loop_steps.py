"""Names what holds the server's loop while it does: afterwards may be never, as with a lock that nobody gives back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from time import perf_counter, sleep

from graft.threads.starting import start
from graft.threads.worker import describe_thread

log = logging.getLogger("graft.legacy")

LONG = 1.0
"""Seconds after which a step is named."""

LOOK = 0.25
"""Seconds between two looks."""


class LoopSteps:
    """The steps that views are in, one for each thread of a loop. A thread of its own looks at them."""

    def __init__(self) -> None:
        self._current: dict[int, tuple[str, float]] = {}  # by thread; each is written by that thread alone
        self._watcher: threading.Thread | None = None

    @contextmanager
    def step(self, view: str) -> Iterator[float]:
        """Around one step; gives the time at which it began. (thread of the loop)"""
        if self._watcher is None or not self._watcher.is_alive():  # the first one, also after a fork
            self._watcher = threading.Thread(target=self._watch, name="legacy-loop-steps", daemon=True)
            start(self._watcher)
        thread, begun = get_ident(), perf_counter()
        self._current[thread] = view, begun
        try:
            yield begun
        finally:
            self._current.pop(thread, None)

    def _watch(self) -> None:
        told: set[tuple[str, float]] = set()
        while True:
            sleep(LOOK)
            current = dict(self._current)
            told &= set(current.values())
            for thread, (view, begun) in current.items():
                held = perf_counter() - begun
                if held > LONG and (view, begun) not in told:
                    told.add((view, begun))
                    log.error(
                        "the async view %s holds the loop for %.1f s by now, and nobody else is answered; %s",
                        view,
                        held,
                        describe_thread(thread),
                    )


LOOP_STEPS = LoopSteps()
