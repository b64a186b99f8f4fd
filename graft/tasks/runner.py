"""Runs background tasks on the server's event loop, outlives the requests that started them, ends with the worker."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

from graft.connection import leaving
from graft.mirroring import fence
from graft.observe import requestid
from graft.settings import Settings
from graft.tasks.commits import hold
from graft.tasks.journal import Journal
from graft.tasks.ledger import Ledger
from graft.tasks.metrics import TaskFigures
from graft.tasks.records import STEP_CHARACTERS, STEPS_KEPT, Step, TaskRecord, TaskState, age, new_id
from graft.tasks.refusals import TasksClosed, TasksFull

TaskFunction = Callable[..., Awaitable[object]]

log = logging.getLogger("graft.tasks")

AT_ONCE = 25  # tasks that begin before the loop looks at other work
CLEANUP = 2.0  # seconds that a task may take to clean up when it is cancelled
FRESH = 2.0  # seconds in which another worker may not have written a new task down yet
PATIENCE = 0.5  # seconds to wait for it then

refusal: ContextVar[Callable[[str], Exception] | None] = ContextVar("graft_tasks_refusal", default=None)
"""Set where nothing may be started, as in a mirrored run: makes the exception to raise, from what was tried
(``"start the task send_mail"``)."""

_current: ContextVar[_Task | None] = ContextVar("graft_task", default=None)


class _Task:
    """One task in this worker. The event loop changes it; ``step`` may come from any thread of the task."""

    __slots__ = (
        "call",
        "created",
        "ended",
        "error",
        "id",
        "mirrored_run",
        "name",
        "request_id",
        "runner",
        "started",
        "state",
        "steps",
    )

    def __init__(self, runner: Runner, call: partial[Awaitable[object]], name: str) -> None:
        self.runner = runner
        self.call: partial[Awaitable[object]] | None = call
        self.id = new_id()
        self.name = name
        self.state = TaskState.WAITING
        self.steps: tuple[Step, ...] = ()
        self.error: str | None = None
        self.request_id = requestid.current.get()
        self.mirrored_run = fence.current.get()
        self.created = time.time()
        self.started: float | None = None
        self.ended: float | None = None

    def record(self) -> TaskRecord:
        return TaskRecord(
            self.id,
            self.name,
            self.state,
            self.steps,
            self.error,
            self.request_id,
            self.created,
            self.started,
            self.ended,
        )

    def step(self, text: str) -> None:
        self.steps = (*self.steps[-STEPS_KEPT + 1 :], Step(time.time(), text[:STEP_CHARACTERS]))
        self.runner.changed(self, logging.INFO, "task %s %s: %s", text[:STEP_CHARACTERS])


class Runner:
    """The tasks of this worker: ``async with Runner.open(settings) as tasks``; ``request.state.tasks`` is one.

    ``start`` may be called from any thread, all else on the event loop.
    """

    def __init__(self, ledger: Ledger, journal: Journal, limit: int) -> None:
        self.limit = limit
        self._ledger = ledger
        self._journal = journal
        self._figures = TaskFigures()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._taken = 0
        self._waiting: deque[_Task] = deque()
        self._running: dict[asyncio.Task[None], _Task] = {}
        self._beginning = False
        self._closing = self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Runner]:
        """Tasks until the block ends; those that still run then have what is left of GRACEFUL_TIMEOUT.

        Under Gunicorn a worker that another one replaces waits for them before, up to GRAFT_STREAM_GRACE.
        """
        from graft.tasks.shutdown import Deadline

        runner = cls(Ledger(settings.data / "tasks.sqlite3"), Journal(settings.data), settings.tasks_limit)
        reserve = min(2 * CLEANUP, settings.graceful_timeout / 2)  # to clean up and write down
        with Deadline(settings.graceful_timeout) as deadline:
            await runner._open()
            if leaving.worker is not None:
                leaving.worker.wait_for(lambda: runner.is_busy)
            try:
                yield runner
            finally:
                await runner.drain(max(0.0, deadline.left() - reserve))
                await runner._close()

    @property
    def is_busy(self) -> bool:
        """Whether a task runs or waits for its turn."""
        return bool(self._running or self._waiting)

    async def _open(self) -> None:
        global _runner
        self._journal.open()
        lost = await asyncio.to_thread(self._ledger.open)
        if lost:
            log.warning("%d background tasks were lost: the workers that ran them died", lost)
        self._figures.lost(lost)
        _runner = self

    async def _close(self) -> None:
        global _runner
        self._closed = True
        if _runner is self:
            _runner = None
        await asyncio.to_thread(self._journal.close)
        await asyncio.to_thread(self._ledger.close)

    # Starting

    def start(self, function: TaskFunction, /, *args: Any, **kwargs: Any) -> str:
        """Run ``function(*args, **kwargs)``, a coroutine, soon and in the background. Gives the task's id, a UUID.

        The answer of the request that starts it goes out when the task is in the ledger: see graft.tasks.commits.
        Raises TasksFull when GRAFT_TASKS_LIMIT tasks run in this worker, TasksClosed when it has shut down, TypeError
        when ``function`` is not an async function.
        """
        name = _name(function)
        refuse = refusal.get()
        if refuse is not None:
            raise refuse(f"start the task {name}")
        self._take_place()
        task = _Task(self, partial(function, *args, **kwargs), name)
        commit = self._ledger.enter(task)
        if threading.get_ident() == self._thread:
            self._queue(task)
        else:
            self._loop.call_soon_threadsafe(self._queue, task)
        if commit is not None:
            hold(task.request_id, commit)
        return task.id

    def _take_place(self) -> None:
        with self._lock:
            if self._closed:
                raise TasksClosed("This worker is shutting down and starts no more background tasks. Try again.", 1)
            if self._taken >= self.limit:
                self._figures.refused()
                raise TasksFull(self.limit)
            self._taken += 1

    def _queue(self, task: _Task) -> None:
        self._figures.taken()
        self._waiting.append(task)
        if not self._beginning:
            self._beginning = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        """Begin some of those that wait, then let the loop do other work: a thousand starts make no pause."""
        for _ in range(min(AT_ONCE, len(self._waiting))):
            task = self._waiting.popleft()
            context = Context()
            context.run(requestid.current.set, task.request_id)
            context.run(fence.current.set, task.mirrored_run)
            context.run(_current.set, task)
            running = self._loop.create_task(self._run(task), name=f"graft task {task.id}", context=context)
            self._running[running] = task
            running.add_done_callback(self._running.pop)
        self._beginning = bool(self._waiting)
        if self._beginning:
            self._loop.call_soon(self._begin)

    # Running

    async def _run(self, task: _Task) -> None:
        task.state, task.started = TaskState.RUNNING, time.time()
        self.changed(task, logging.INFO, "task %s %s started")
        call, task.call = task.call, None
        try:
            await call()  # type: ignore[misc]
        except asyncio.CancelledError:
            if self._closing:
                self._ended(task, TaskState.INTERRUPTED, "its worker shut down before it was done")
            else:
                self._ended(task, TaskState.FAILED, "CancelledError: it was cancelled")
        except BaseException as error:  # SystemExit, too: a task does not end the worker
            self._ended(task, TaskState.FAILED, f"{type(error).__name__}: {error}", error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            self._ended(task, TaskState.DONE)

    def _ended(self, task: _Task, state: TaskState, why: str | None = None, error: BaseException | None = None) -> None:
        if task.ended is not None:  # it was given up at shutdown, and ends now all the same
            return
        task.ended = time.time()
        task.error = why[:2000] if why else None
        task.state = state
        with self._lock:
            self._taken -= 1
        self._figures.ended(state)
        seconds = f"{task.ended - (task.started or task.ended):.3f}"
        if state is TaskState.DONE:
            self.changed(task, logging.INFO, "task %s %s done after %s s", seconds)
        else:
            level = logging.ERROR if state is TaskState.FAILED else logging.WARNING
            self.changed(task, level, "task %s %s %s after %s s: %s", state, seconds, why, error=error)

    def changed(
        self, task: _Task, level: int, message: str, *arguments: object, error: BaseException | None = None
    ) -> None:
        self._ledger.note(task)
        self._journal.write(level, message, task.id, task.name, *arguments, request_id=task.request_id, error=error)

    # Telling

    async def find(self, task_id: str) -> TaskRecord | None:
        """A task of any worker by its id; None if there is none, or it ended more than seven days ago."""
        made = age(task_id)
        if made is None:
            return None
        record = await asyncio.to_thread(self._ledger.find, task_id)
        give_up = time.monotonic() + PATIENCE
        while record is None and abs(made) < FRESH and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
            record = await asyncio.to_thread(self._ledger.find, task_id)
        return record

    async def counts(self) -> dict[TaskState, int]:
        """How many tasks of all workers are in each state; of the ended ones, those of the last seven days."""
        return await asyncio.to_thread(self._ledger.counts)

    # Ending

    async def drain(self, timeout: float) -> None:
        """Wait ``timeout`` seconds for the tasks to end; cancel and record the rest as interrupted."""
        deadline = self._loop.time() + timeout
        while self.is_busy and self._loop.time() < deadline:
            left = deadline - self._loop.time()
            await (asyncio.wait(self._running, timeout=left) if self._running else asyncio.sleep(0))
        self._closing = True
        with self._lock:
            self._closed = True
        await asyncio.sleep(0)  # what other threads have just handed over
        for task in self._waiting:
            self._ended(task, TaskState.INTERRUPTED, "its worker shut down before it began")
        self._waiting.clear()
        await self._cancel(dict(self._running))

    async def _cancel(self, running: dict[asyncio.Task[None], _Task]) -> None:
        for one in running:
            one.cancel()
        if running:
            await asyncio.wait(running, timeout=CLEANUP)
        for task in running.values():  # those that had not begun, and those that ignore it
            self._ended(task, TaskState.INTERRUPTED, "its worker shut down before it was done")


_runner: Runner | None = None


def start(function: TaskFunction, /, *args: Any, **kwargs: Any) -> str:
    """``Runner.start`` of this worker, for where there is no ``request.state.tasks``: Flask views, sync or async."""
    if _runner is None:
        raise TasksClosed("no gateway runs in this process; background tasks need it: start it with python gateway.py")
    return _runner.start(function, *args, **kwargs)


def step(text: str) -> None:
    """Report how far the task is that calls it. Outside of one it is only a log line, so that the same function works
    under other task queues."""
    task = _current.get()
    if task is None:
        log.info("%s", text)
    else:
        task.step(text)


def _name(function: TaskFunction) -> str:
    inner = function
    while isinstance(inner, partial):
        inner = inner.func
    if not (inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))):  # noqa: B004
        if inspect.iscoroutine(function):
            function.close()
            mend = "it was called already; write tasks.start(function, argument), not tasks.start(function(argument))"
            raise TypeError(f"tasks.start takes an async function: {mend}")
        raise TypeError(f"tasks.start takes an async function, and {function!r} is none; wrap it: asyncio.to_thread")
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))
