"""Flask's coroutine views on a loop that lives: the server's own, or one long-lived loop beside it.

Flask runs each coroutine view on a loop of its own and throws the loop away, which breaks every client that is made
once and used by many requests. Here the coroutine runs on one loop, and the request's thread waits for it, parked, so
that it does not count against the pool. The app is not edited: its instance gets another ``async_to_sync``.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor, Future
from time import perf_counter
from typing import Any

from flask import Flask
from prometheus_client import Summary

from graft.figures.prometheus import REGISTRY
from graft.flaskside import asgiref_private
from graft.flaskside.loading import flask_apps
from graft.settings import LegacyLoop
from graft.threads.parking import Parking
from graft.threads.scheduler import Job, Scheduler
from graft.threads.worker import current_job

log = logging.getLogger("graft.legacy")

# A view that keeps the loop from everybody else for so long, in seconds, is named in the log.
HOLD = 0.1
# How often a waiting thread looks whether its loop is still there, in seconds.
PULSE = 5.0

_held = Summary(
    "graft_async_view_held_seconds",
    "How long async views of the legacy app held the event loop without an await, where it was over 100 ms.",
    ("view",),
    registry=REGISTRY,
)

CoroutineFunction = Callable[..., Coroutine[Any, Any, Any]]


class AsyncViews:
    """Where the coroutines of one mount run. ``holds`` counts, by view, how often one held the loop over 100 ms."""

    def __init__(self, mode: LegacyLoop = LegacyLoop.SERVER) -> None:
        self.mode = mode
        self.holds: Counter[str] = Counter()
        self._own: _OwnLoop | None = None
        self._starting = threading.Lock()

    def install(self, wsgi_app: Any) -> list[Flask]:
        """Take over the coroutine views of every Flask app in ``wsgi_app``; returns these apps.

        An app with an ``async_to_sync`` of its own keeps it.
        """
        apps = list(flask_apps(wsgi_app))
        for sentence in asgiref_private.MISSING if apps else ():
            log.warning("%s", sentence)
        for app in apps:
            if type(app).async_to_sync is Flask.async_to_sync:
                app.async_to_sync = functools.partial(self._wrap, app)  # type: ignore[method-assign]
            else:
                log.info("%s runs its async views by an async_to_sync of its own", app.name)
        return apps

    def close(self, timeout: float | None = None) -> None:
        """End the loop beside the server's, if there is one."""
        with self._starting:
            own, self._own = self._own, None
        if own is not None:
            own.close(timeout)

    def _wrap(self, app: Flask, func: CoroutineFunction) -> Callable[..., Any]:
        return functools.partial(self._call, app, func)

    def _call(self, app: Flask, func: CoroutineFunction, /, *args: Any, **kwargs: Any) -> Any:
        if _on_a_loop():
            raise RuntimeError(
                "You cannot use AsyncToSync in the same thread as an async event loop - "
                "just await the async function directly."
            )
        job = current_job()
        if job is None:  # a thread that is not ours, as in `flask shell` or the app's own tests
            return Flask.async_to_sync(app, func)(*args, **kwargs)
        scheduler = job.scheduler if self.mode is LegacyLoop.SERVER else self._own_scheduler()
        return Crossing(func, args, kwargs, job, scheduler, self.holds).run()

    def _own_scheduler(self) -> Scheduler:
        with self._starting:
            if self._own is None or self._own.process != os.getpid():
                self._own = _OwnLoop()
            return self._own.scheduler


class Crossing:
    """One coroutine that runs on a loop while the thread that called it waits."""

    def __init__(
        self,
        func: CoroutineFunction,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        job: Job,
        scheduler: Scheduler,
        holds: Counter[str],
    ) -> None:
        self._job = job
        self._scheduler = scheduler
        self._holds = holds
        self._func = func
        self._coroutine = _inside_handler(func(*args, **kwargs))
        self._context = contextvars.copy_context()
        self._thread_calls = _ThreadCalls()
        self._parking = Parking(self._thread_calls.end)
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    # In the thread.

    def run(self) -> Any:
        """The coroutine's result. Raises what it raises; its ContextVars come back."""
        with self._parking:
            self._scheduler.post(self._begin)
            self._thread_calls.serve(self._scheduler.loop, self._parking)
        self._bring_back_context()
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # no cycle of error, traceback and this frame
        return self.value

    def _bring_back_context(self) -> None:
        for variable, value in self._context.items():
            kept = asgiref_private.brought_back(value, self._thread_calls)
            if kept is None and value is not None:
                continue
            if variable.get(None) is not kept:
                variable.set(kept)

    # On the loop.

    def _begin(self) -> None:
        self._context.run(asgiref_private.lend, self._thread_calls)
        self._task = self._scheduler.loop.create_task(_Watched(self, self._coroutine), context=self._context)
        if self._cancelled:
            self._task.cancel()
        if self._scheduler is self._job.scheduler:
            self._tell_job()
        else:
            self._job.scheduler.post(self._tell_job)

    def _tell_job(self) -> None:
        if not self.done:
            self._job.waits_for(self)

    def cancel(self) -> None:
        """Cancel the coroutine, once, from any thread."""
        if not self._cancelled:
            self._cancelled = True
            self._scheduler.post(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def finish(self) -> None:
        self.done = True
        self._task = None  # no cycle for the garbage collector: the task holds what it ran, and that holds this
        self._thread_calls.ended = True
        if self._scheduler is self._job.scheduler:
            self._parking.over(self._scheduler)
        else:
            self._parking.end()

    def report(self, seconds: float) -> None:
        name = f"{self._func.__module__}.{getattr(self._func, '__qualname__', self._func)}"
        self._holds[name] += 1
        _held.labels(name).observe(seconds)
        shared = self._scheduler is self._job.scheduler
        mend = "; GRAFT_LEGACY_LOOP=own gives such views a loop of their own" if shared else ""
        log.warning("the async view %s held the loop for %.0f ms without an await%s", name, seconds * 1000, mend)


class _Watched(Coroutine[Any, Any, None]):
    """Drives a coroutine, times each of its steps, and keeps what it ends in from the task, which it might harm."""

    __slots__ = ("_coroutine", "_crossing")

    def __init__(self, crossing: Crossing, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._crossing = crossing
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        self._coroutine.close()
        if not self._crossing.done:
            self._crossing.error = RuntimeError("the loop ended before the view")
            self._crossing.finish()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        crossing = self._crossing
        started = perf_counter()
        try:
            return step(*args)
        except StopIteration as stop:
            crossing.value = stop.value
        except BaseException as error:  # SystemExit in a task would end the server
            crossing.error = error
        finally:
            held = perf_counter() - started
            if held > HOLD:
                crossing.report(held)
        crossing.finish()
        raise StopIteration


class _ThreadCalls(Executor):
    """What a coroutine asks the waiting thread to do: asgiref sends thread-sensitive calls here."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any]] | None] = queue.SimpleQueue()
        self._thread = threading.get_ident()
        self.ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.ended:
            raise RuntimeError("the request that this task came from has ended")
        if threading.get_ident() == self._thread:
            raise RuntimeError("this thread can't wait for itself")
        future: Future[Any] = Future()
        self._calls.put((future, functools.partial(fn, *args, **kwargs)))
        return future

    def end(self) -> None:
        """Let the thread go. ``ended`` was set before: between the two, other threads may have their turn."""
        self._calls.put(None)

    def serve(self, loop: asyncio.AbstractEventLoop, parking: Parking) -> None:
        """Run what comes, until ``end``. Raises RuntimeError when the loop is closed before."""
        while True:
            try:
                call = self._calls.get(timeout=PULSE)
            except queue.Empty:
                if loop.is_closed():
                    raise RuntimeError("the loop was closed before the view ended") from None
                continue
            if call is None:
                return
            self._run(*call, parking)

    def _run(self, future: Future[Any], call: Callable[[], Any], parking: Parking) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            with parking.interrupted():
                future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            asgiref_private.forget_main_loop()


class _OwnLoop:
    """One loop in a thread of its own, for apps whose async views block."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.scheduler = Scheduler(asyncio.new_event_loop())
        self._thread = threading.Thread(target=self._run, name="legacy-loop", daemon=True)
        self._thread.start()

    def close(self, timeout: float | None) -> None:
        self.scheduler.post(self.scheduler.loop.stop)
        self._thread.join(timeout)

    def _run(self) -> None:
        loop = self.scheduler.loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            _cancel_rest(loop)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_rest(loop: asyncio.AbstractEventLoop) -> None:
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    if rest:
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))


def _inside_handler(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """An async error handler sees the error that it handles in ``sys.exc_info()``, as a plain one does."""
    error = sys.exc_info()[1]
    return coroutine if error is None else _with_error(error, coroutine)


async def _with_error(error: BaseException, coroutine: Coroutine[Any, Any, Any]) -> Any:
    traceback = error.__traceback__
    try:
        raise error
    except BaseException:
        error.__traceback__ = traceback
        return await coroutine


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
