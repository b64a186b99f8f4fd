"""Loops for one request at a time, used again by the next; and the one that an app's clients make everybody's."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from werkzeug import Response
from werkzeug.exceptions import ServiceUnavailable

from graft.error_answers import error_response
from graft.flaskside.async_clients import client_kinds
from graft.threads.loop_guards import guard_asyncio, guard_client
from graft.threads.parking import LoopParking
from graft.threads.starting import DefaultExecutor, NoThread, start
from graft.threads.threaded_loop import ThreadedLoop

log = logging.getLogger("graft.legacy")

# As many loops wait for the next request; each has three file descriptors.
KEPT = 64
# While so many are in use a request that waits on its loop gives its place among the threads to others. Above that they
# wait for places, as under Gunicorn's threads: each costs a second thread, and what a process may open has a limit.
WAITING = 64
# What asyncio keeps in a loop that something is still going on on.
_TRACES = ("_ready", "_scheduled", "_asyncgens", "_default_executor")
# And what a request may set on its loop.
_SETTINGS = ("_exception_handler", "_debug", "_task_factory", "slow_callback_duration", "_clock_resolution")
_MISSING: Any = object()


class RequestLoop(ThreadedLoop):
    """The loop of async views. Where the system gives no thread, ``asyncio.to_thread`` waits for those there are, and
    raises ServiceUnavailable where there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._as_made = self._settings()

    @property
    def is_as_made(self) -> bool:
        """Whether its debug mode, exception handler, task factory are those that it was made with."""
        return all(now is before for now, before in zip(self._settings(), self._as_made, strict=True))

    def _settings(self) -> list[Any]:
        return [getattr(self, name, _MISSING) for name in _SETTINGS]

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        if executor is None and self._default_executor is None:
            self.set_default_executor(DefaultExecutor(thread_name_prefix="asyncio"))
        try:
            return super().run_in_executor(executor, func, *args)
        except NoThread:
            raise no_thread() from None

    _default_executor: Executor | None = None  # asyncio's own, which it sets to this in each loop


class RequestLoops:
    """All loops of one app's async views in one process. ``shared`` is the one for all requests, if there is one."""

    def __init__(self) -> None:
        self.shared: RequestLoop | None = None
        self._thread: threading.Thread | None = None
        self._idle: deque[RequestLoop] = deque()
        self._waiting = 0  # requests that may leave their places; written under _changing
        self._changing = threading.Lock()

    def take(self) -> RequestLoop:
        """A loop for one request. In any thread."""
        try:
            return self._idle.pop()
        except IndexError:
            return RequestLoop()

    def park(self, loop: RequestLoop, wake: Callable[[], None]) -> LoopParking | None:
        """For a request that has taken ``loop``, in its thread. None where it keeps its place while it waits."""
        with self._changing:
            if self._waiting < WAITING:
                self._waiting += 1
                loop.parking = LoopParking(wake)
        return loop.parking

    def give_back(self, loop: RequestLoop) -> bool:
        """Clean up, in the thread that ran it. True when the loop shall go on: then the thread calls ``keep_running``.

        A connection that is open at the end of a request belongs to a client that outlives it. It can only be used
        on this loop, so from now on all requests do.
        """
        if loop.parking is not None:
            loop.parking = None
            with self._changing:
                self._waiting -= 1
        if loop.has_connections:
            with self._changing:
                if self.shared is None:
                    guard_what_is_shared()
                    self.shared, self._thread = loop, threading.current_thread()
                    log.info(
                        "An async client of the legacy app outlives its request: its async views share one loop from "
                        "now on, each step in its request's thread, as GRAFT_LEGACY_LOOP=own says from the start."
                    )
                    return True
        if _is_as_new(loop) and len(self._idle) < KEPT:
            self._idle.append(loop)
        else:
            loop.end()
        return False

    def keep_running(self, loop: RequestLoop) -> None:
        """Serve all requests, until ``close``. In the thread that ran the loop before."""
        threading.current_thread().name = "legacy-loop"
        loop.serve()
        loop.end()

    def share(self) -> RequestLoop:
        """The loop for all requests, started when it is first needed. Raises ServiceUnavailable."""
        loop = self.shared
        if loop is None:
            with self._changing:
                loop = self.shared
                if loop is None:
                    loop = RequestLoop()
                    thread = threading.Thread(target=self.keep_running, args=(loop,), daemon=True)
                    if not start(thread):
                        loop.end()
                        raise no_thread()
                    self.shared, self._thread = loop, thread
        return loop

    def close(self, timeout: float | None = None) -> None:
        """End all loops; what still runs on the shared one is cancelled."""
        with self._changing:
            shared, self.shared = self.shared, None
        if shared is not None and self._thread is not None:
            shared.call_soon_threadsafe(shared.stop)
            self._thread.join(timeout)
        ending = threading.Thread(target=self._end_idle)  # the calling thread may run a loop itself
        if start(ending):  # else they end with the process
            ending.join(timeout)

    def _end_idle(self) -> None:
        while self._idle:
            self._idle.pop().end()


def guard_what_is_shared() -> None:
    """Before views share a loop: what lives on it is changed by one of them at a time."""
    guard_asyncio()
    for kind in client_kinds():
        guard_client(kind)


def no_thread() -> ServiceUnavailable:
    """What a request raises whose async view finds no thread: Flask answers it without a traceback."""
    answer = error_response(503, "All workers are busy. Try again in a moment.", "legacy_full", {"retry-after": "1"})
    return ServiceUnavailable(response=Response(bytes(answer.body), 503, answer.headers.items()))


def _is_as_new(loop: RequestLoop) -> bool:
    """Whether nothing of a request is left on it: a task, a timer, an open generator, a thread, a setting."""
    traces = [getattr(loop, name, _MISSING) for name in _TRACES]
    is_idle = _MISSING not in traces and not any(traces) and not asyncio.all_tasks(loop) and not loop.has_connections
    return is_idle and loop.is_as_made
