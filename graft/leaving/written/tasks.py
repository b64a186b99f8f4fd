"""Background tasks with ids: they run on the worker's event loop, outlive their request, and end with the worker.

Each worker knows its own. For tasks that have to survive a worker, move to a queue.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse

KEPT = 10_000
"""Tasks that have ended and can still be asked about."""


class TaskState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    LOST = "lost"


@dataclass
class TaskRecord:
    """One task. Times are Unix time in seconds."""

    id: str
    name: str
    state: TaskState
    created: float
    steps: list[tuple[float, str]] = field(default_factory=list)
    error: str | None = None
    request_id: str | None = None
    started: float | None = None
    ended: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "step": self.steps[-1][1] if self.steps else None,
            "steps": [{"at": _iso(at), "text": text} for at, text in self.steps],
            "error": self.error,
            "request_id": self.request_id,
            "created": _iso(self.created),
            "started": _iso(self.started),
            "ended": _iso(self.ended),
        }

    def response(self, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse(self.as_json(), status, headers={"Cache-Control": "no-store", **(headers or {})})


class Runner:
    """``request.state.tasks``; ``start`` may also be called in the Flask app's threads."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._records: dict[str, TaskRecord] = {}
        self._running: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, seconds: float = 30.0) -> AsyncIterator[Runner]:
        """For the lifespan: at its end, tasks have ``seconds`` to finish."""
        global _runner
        _runner = runner = cls()
        try:
            yield runner
        finally:
            _runner = None
            if runner._running:
                _, left = await asyncio.wait(runner._running, timeout=seconds)
                for task in left:
                    task.cancel()
                if left:
                    await asyncio.wait(left)

    def start(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> str:
        """Run ``function(*args, **keywords)`` and give the id of its task."""
        record = TaskRecord(_new_id(), _name(function), TaskState.WAITING, time.time())
        self._records[record.id] = record
        while len(self._records) > KEPT:
            self._records.pop(next(iter(self._records)))
        self._loop.call_soon_threadsafe(self._begin, record, partial(function, *args, **keywords))
        return record.id

    async def find(self, task_id: str) -> TaskRecord | None:
        return self._records.get(task_id)

    async def counts(self) -> dict[TaskState, int]:
        counted = Counter(record.state for record in self._records.values())
        return {state: counted[state] for state in TaskState}

    def _begin(self, record: TaskRecord, call: partial[Any]) -> None:
        task = self._loop.create_task(self._run(record, call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, record: TaskRecord, call: partial[Any]) -> None:
        _current.set(record)
        record.state, record.started = TaskState.RUNNING, time.time()
        try:
            if inspect.iscoroutinefunction(call.func):
                await call()
            elif isinstance(answer := await asyncio.to_thread(call), Awaitable):
                await answer
            record.state = TaskState.DONE
        except asyncio.CancelledError:
            record.state = TaskState.INTERRUPTED
        except Exception as error:
            record.state, record.error = TaskState.FAILED, f"{type(error).__name__}: {error}"
        record.ended = time.time()


_runner: Runner | None = None
_current: ContextVar[TaskRecord | None] = ContextVar("task", default=None)


def start(function: Callable[..., Any], /, *args: Any, **keywords: Any) -> str:
    if _runner is None:
        raise RuntimeError("tasks can be started while the site runs")
    return _runner.start(function, *args, **keywords)


def step(text: str) -> None:
    """Report, inside a task."""
    record = _current.get()
    if record is not None:
        record.steps = [*record.steps[-99:], (time.time(), text[:500])]


def _name(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"


def _new_id() -> str:
    """A UUID of version 7, which begins with the time."""
    value = int.from_bytes(os.urandom(10), "big") | (time.time_ns() // 1_000_000) << 80
    value = value & ~(0xF << 76) | (0x7 << 76)
    return str(UUID(int=value & ~(0x3 << 62) | (0x2 << 62)))


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
