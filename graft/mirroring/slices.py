"""Slices: one thread for what takes long, which leaves the interpreter to the event loop again and again.

A thread that computes keeps the interpreter for its switch interval, 5 ms, each time the loop's thread lets go of it;
and that one does so whenever it reads or writes a socket. A request of 1 ms would take 30 beside such a thread. The
interval is the app's own, so the work here stops by itself: it calls ``checkpoint`` often, and rests there once it has
worked for SLICE. There is one thread, so what it alone touches needs no lock, and what it takes has a bound.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import ParamSpec, TypeVar

from graft.threads.starting import DefaultExecutor

SLICE = 0.0002
"""Seconds of work between two rests: what a request may have to wait each time that it comes to this thread's turn, and
the one step that the slice ends in."""

REST = 0.001

P = ParamSpec("P")
T = TypeVar("T")


class Slices:
    """The thread. It starts with the first ``run`` and ends with ``aclose``, after which it may start again. (loop)"""

    def __init__(self) -> None:
        self._executor: DefaultExecutor | None = None

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``fn(*args)`` in the thread, after what was given to it before. Raises what it raises, and NoThread."""
        if self._executor is None:
            self._executor = DefaultExecutor(max_workers=1, thread_name_prefix="graft-compare")
        return await asyncio.wrap_future(self._executor.submit(_in_slices, partial(fn, *args, **kwargs)))

    async def aclose(self) -> None:
        """Give up what waits, and wait for what the thread works on."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(executor.shutdown)


def checkpoint() -> None:
    """Rest, if the calling thread works in slices and has done enough for now. Elsewhere it costs 50 ns."""
    until: float | None = getattr(_thread, "until", None)
    if until is not None and time.perf_counter() > until:
        time.sleep(REST)
        _thread.until = time.perf_counter() + SLICE


def in_slices(items: Iterable[T]) -> Iterator[T]:
    """The items, with a checkpoint in front of each hundred."""
    rest = iter(items)
    while some := tuple(islice(rest, 100)):
        checkpoint()
        yield from some


def _in_slices(fn: Callable[[], T]) -> T:
    _thread.until = time.perf_counter() + SLICE
    try:
        return fn()
    finally:
        _thread.until = None


_thread = threading.local()
