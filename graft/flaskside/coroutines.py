"""One coroutine of the Flask app, called by plain code in a worker thread: the three loops that it may run on."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from contextlib import nullcontext, suppress
from time import perf_counter
from typing import Any

from flask import request

from graft.bridge.request_body import IN_ENVIRON, RequestBody
from graft.figures.prometheus import REGISTRY, Summary
from graft.flaskside import asgiref_private
from graft.flaskside.loop_steps import LOOP_STEPS
from graft.flaskside.request_loops import RequestLoops, no_thread
from graft.threads.mailbox import ThreadMailbox
from graft.threads.parking import Parking
from graft.threads.scheduler import Job, Scheduler
from graft.threads.starting import start
from graft.threads.thread_task import ThreadTask
from graft.threads.threaded_loop import ThreadedLoop

log = logging.getLogger("graft.legacy")

# A view that keeps the server's loop from everybody else for so long, in seconds, is named in the log.
HOLD = 0.1

_held = Summary(
    "graft_async_view_held_seconds",
    "How long async views of the legacy app held the event loop without an await, where it was over 100 ms.",
    ("view",),
    registry=REGISTRY,
)

_OTHER_LOOP = re.compile(r"different (event )?loop|Event loop is closed").search

CoroutineFunction = Callable[..., Coroutine[Any, Any, Any]]


class _Call:
    """``run`` in the thread of ``job``, or one of the app's own, gives the coroutine's result, raises what it raises,
    and brings its ContextVars back. ``cancel`` from any thread.

    One that ``must_run`` is not cancelled with its request: a teardown function is what gives connections back.
    """

    def __init__(
        self, job: Job | None, must_run: bool, func: CoroutineFunction, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.done = False
        self._job = job
        self._must_run = must_run
        self._coroutine = _inside_handler(func(*args, **kwargs))
        self._context = contextvars.copy_context()
        self._mailbox = ThreadMailbox()
        self._value: Any = None
        self._error: BaseException | None = None

    def _is_done(self) -> bool:
        return self.done

    def _result(self) -> Any:
        asgiref_private.forget_main_loop()
        for variable, value in self._context.items():
            kept = asgiref_private.brought_back(value, self._mailbox)
            if kept is None and value is not None:
                continue
            if variable.get(None) is not kept:
                variable.set(kept)
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # no cycle of error, traceback and this frame
        return self._value

    def _begin_wait(self) -> None:
        """The job's thread waits for the coroutine from now on, which the job may cancel."""
        if self._job is not None and not self.done and not self._must_run:
            self._job.waits_for(self)

    def cancel(self) -> None:
        raise NotImplementedError


class RequestLoopCall(_Call):
    """On a loop and in a thread of its own, as Flask itself does it. The loop may have served requests before."""

    def __init__(self, loops: RequestLoops, *call: Any) -> None:
        super().__init__(*call)
        self._loops = loops
        self._loop = loops.take()

    def run(self) -> Any:
        parking = self._loops.park(self._loop, self._mailbox.wake)
        if not start(threading.Thread(target=self._run_coroutine, name="legacy-async-view", daemon=True)):
            self._coroutine.close()
            self._loops.give_back(self._loop)
            raise no_thread()
        self._begin_wait()
        with parking or nullcontext():
            self._mailbox.serve(self._is_done, self._loop, parking)
        return self._result()

    def _run_coroutine(self) -> None:
        loop = self._loop
        self._context.run(asgiref_private.lend, self._mailbox)
        try:
            self._value = loop.run(self._coroutine, self._context)
        except BaseException as error:
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
            self._error = error
            if isinstance(error, RuntimeError) and _OTHER_LOOP(str(error)):
                log.warning("An async view met a client of another request's loop; GRAFT_LEGACY_LOOP=own mends that")
        adopted = self._loops.give_back(loop)
        self.done = True
        self._mailbox.wake()
        if adopted:
            self._loops.keep_running(loop)

    def cancel(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            return  # it is closed: the coroutine has ended

    def _cancel(self) -> None:
        if not self.done:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()


class SharedLoopCall(_Call):
    """On one loop for all requests, each step in this request's own thread."""

    def __init__(self, loop: ThreadedLoop, *call: Any) -> None:
        super().__init__(*call)
        self._loop = loop
        self._context.run(asgiref_private.lend, self._mailbox)
        self._task = ThreadTask(self._coroutine, loop=loop, mailbox=self._mailbox, context=self._context)

    def run(self) -> Any:
        task = self._task
        task.step()
        if not task.done():
            self._begin_wait()
            with Parking(self._mailbox.wake) as parking:
                self._mailbox.serve(task.done, self._loop, parking)
        self.done = True
        for call in self._mailbox.close():
            self._loop.call_soon_threadsafe(call)
        if task.cancelled():
            self._error = asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            self._error = error
        else:
            self._value = task.result()
        del self._task, task
        return self._result()

    def cancel(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None:
            self._loop.call_soon_threadsafe(task.cancel)


class ServerLoopCall(_Call):
    """On the server's loop, in its thread, where native routes run too; the request's thread waits, parked."""

    def __init__(self, holds: Counter[str], job: Job, must_run: bool, func: CoroutineFunction, *arguments: Any) -> None:
        super().__init__(job, must_run, func, *arguments)
        self._scheduler: Scheduler = job.scheduler
        self._func = func
        self._holds = holds
        self._parking = Parking(self._mailbox.wake)
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def run(self) -> Any:
        with self._parking:
            self._load_body()
            self._scheduler.post(self._begin)
            self._mailbox.serve(self._is_done, self._scheduler.loop, self._parking)
        self._mailbox.close()
        return self._result()

    def _load_body(self) -> None:
        """What streams is received before the coroutine begins: on the loop it could not wait for what the loop feeds.

        What goes wrong with it is raised where the view reads it.
        """
        body: RequestBody | None = request.environ.get(IN_ENVIRON) if request else None
        if body is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(body.load(), self._scheduler.loop).result()

    def _begin(self) -> None:
        self._context.run(asgiref_private.lend, self._mailbox)
        self._task = self._scheduler.loop.create_task(_Watched(self, self._coroutine), context=self._context)
        if self._cancelled:
            self._task.cancel()
        self._begin_wait()

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._scheduler.post(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def finish(self, value: Any, error: BaseException | None) -> None:
        """On the loop: the coroutine has ended."""
        self._value, self._error = value, error
        self.done = True
        self._task = None  # no cycle for the garbage collector: the task holds what it ran, and that holds this
        self._parking.over(self._scheduler)

    @property
    def view(self) -> str:
        return f"{self._func.__module__}.{getattr(self._func, '__qualname__', self._func)}"

    def report(self, seconds: float) -> None:
        name = self.view
        self._holds[name] += 1
        _held.labels(name).observe(seconds)
        log.warning(
            "the async view %s held the loop for %.0f ms without an await; "
            "GRAFT_LEGACY_LOOP=own gives such views a loop of their own",
            name,
            seconds * 1000,
        )


class _Watched(Coroutine[Any, Any, None]):
    """Drives a coroutine, times each of its steps, and keeps what it ends in from the task, which it might harm."""

    __slots__ = ("_call", "_coroutine")

    def __init__(self, call: ServerLoopCall, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._call = call
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        self._coroutine.close()
        if not self._call.done:
            self._call.finish(None, RuntimeError("the loop ended before the view"))

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        call = self._call
        value, error = None, None
        with LOOP_STEPS.step(call.view) as started:
            try:
                return step(*args)
            except StopIteration as stop:
                value = stop.value
            except BaseException as raised:  # SystemExit in a task would end the server
                error = raised
            finally:
                held = perf_counter() - started
                if held > HOLD:
                    call.report(held)
        call.finish(value, error)
        raise StopIteration


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
