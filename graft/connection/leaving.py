"""The end of a worker under Gunicorn: what it still serves has ``GRAFT_STREAM_GRACE``, and a new worker takes the rest.

Gunicorn's master and its workers share a few bytes, ``Marks``: the master says that the whole server stops, a worker
that it serves and that it leaves. When the server stops there is no new worker, so the time is short, and WebSockets
are told at once to connect again (1012). A worker that is recycled, or replaced in a reload, has the long time, and its
WebSockets get their 1012 at its end. Gunicorn would kill it after ``timeout``, for Uvicorn tells it no longer that it
lives.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

log = logging.getLogger("uvicorn.error")

LOOK = 0.1
"""Seconds between two looks at what is still served."""

LAST_SECONDS = 2.0
"""Seconds for what was cancelled to end, and for clients to hear of it."""


class State(Protocol):
    """Uvicorn's ServerState, as far as it is needed here."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]


_SERVES, _LEAVES = 1, 2


class Marks:
    """A byte for the master and one for each worker, in memory that they share. Each has one writer: that of a worker
    is the master's before the fork and after the end."""

    def __init__(self, size: int = 4096) -> None:
        self._bytes = mmap.mmap(-1, size)
        self._size = size

    def stop(self) -> None:
        """The whole server stops. (master)"""
        self._bytes[0] = 1

    @property
    def stopping(self) -> bool:
        return self._bytes[0] != 0

    def clear(self, age: int) -> None:
        """There is no worker of this age, or it has only begun to start."""
        self._bytes[self._at(age)] = 0

    def serve(self, age: int) -> None:
        """The worker of this age serves, unless it leaves already. (worker)"""
        if not self.leaves(age):
            self._bytes[self._at(age)] = _SERVES

    def leave(self, age: int) -> None:
        """The worker of this age leaves. (worker)"""
        self._bytes[self._at(age)] = _LEAVES

    def leaves(self, age: int) -> bool:
        return self._bytes[self._at(age)] == _LEAVES

    def any_serves(self) -> bool:
        return _SERVES in self._bytes[1:]

    def _at(self, age: int) -> int:
        return 1 + age % (self._size - 1)


class Leaving:
    """Stands among a server's connections: so Uvicorn tells it when the server leaves, and waits for it. (loop)

    ``grace`` seconds for a worker that another one replaces, ``short`` seconds when the server stops.
    """

    def __init__(
        self,
        marks: Marks,
        age: int,
        *,
        grace: float,
        short: float,
        alive: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._marks, self._age = marks, age
        self._grace, self._short = grace, short
        self._alive = alive
        self._master = os.getppid()
        self._websockets: dict[Any, Callable[[], None]] = {}  # protocol -> its own shutdown
        self._end_themselves: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._state: State | None = None
        self._others: list[Callable[[], bool]] = []

    def wait_for(self, busy: Callable[[], bool]) -> None:
        """While ``busy()`` a worker that leaves stays, as it does for a stream; its time is the same."""
        self._others.append(busy)

    def join(self, state: State) -> None:
        self._state = state
        state.connections.add(self)

    def websocket(self, protocol: Any, task: asyncio.Task[None] | None = None) -> None:
        """Uvicorn would close it as soon as the server leaves; here it is closed when its time is over.

        ``task`` ends soon after ``protocol.shutdown``, and must not be cancelled before: its client is being told.
        """
        if task is not None:
            self._end_themselves.add(task)
            task.add_done_callback(self._end_themselves.discard)
        own: Callable[[], None] = protocol.shutdown
        self._websockets = {kept: end for kept, end in self._websockets.items() if self._is_open(kept)}
        self._websockets[protocol] = own
        protocol.shutdown = self._nothing_yet

    @property
    def has_begun(self) -> bool:
        return self._task is not None

    def shutdown(self) -> None:
        """The server leaves. (called by Uvicorn)"""
        if self._task is None:
            self._marks.leave(self._age)
            self._task = asyncio.get_running_loop().create_task(self._wait())

    def _nothing_yet(self) -> None:
        pass

    def _is_open(self, protocol: Any) -> bool:
        return self._state is not None and protocol in self._state.connections

    def _serves(self) -> bool:
        assert self._state is not None
        return len(self._state.connections) > 1 or bool(self._state.tasks)

    def _is_busy(self) -> bool:
        return self._serves() or any(busy() for busy in self._others)

    async def _wait(self) -> None:
        assert self._state is not None
        begun = told = time.monotonic()
        stopped: float | None = None
        while self._is_busy():
            now = time.monotonic()
            if stopped is None and (self._marks.stopping or os.getppid() != self._master):
                stopped = now
                self._end_websockets()
            if now >= min(begun + self._grace, (stopped or begun + self._grace) + self._short):
                await self._end()
                break
            if self._alive is not None and now - told >= 1:
                told = now
                await self._alive()
            await asyncio.sleep(LOOK)
        self._state.connections.discard(self)

    def _end_websockets(self) -> None:
        for protocol, shutdown in self._websockets.items():
            if self._is_open(protocol):
                shutdown()
        self._websockets = {}

    async def _end(self) -> None:
        """Their time is over: cancel what runs, and give up what does not end even then."""
        assert self._state is not None
        self._end_websockets()
        late = self._state.tasks - self._end_themselves
        if late:
            log.error("Cancel %s running task(s), timeout graceful shutdown exceeded", len(late))
        for task in late:
            task.cancel(msg="Task cancelled, timeout graceful shutdown exceeded")
        give_up = time.monotonic() + LAST_SECONDS
        while self._serves() and time.monotonic() < give_up:
            await asyncio.sleep(LOOK)
        self._state.connections.clear()
        self._state.tasks.clear()


worker: Leaving | None = None
"""That of this process, if it is a worker of Gunicorn's."""


def is_leaving() -> bool:
    """Whether this worker only finishes what it has: what one worker does for all is another one's from now on."""
    return worker is not None and worker.has_begun
