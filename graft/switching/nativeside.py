"""The native side of a switched route, with the legacy side behind it.

A safe request whose native answer fails before it started is answered by the legacy side instead: the native route
raised, said 5xx, or did not begin in time. Whatever else fails is counted and stays what it is: nothing that may have
changed something is run twice. This is on the path of every request, so it costs a few microseconds: no timer, task or
coroutine of its own a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from graft.switching.answers import KeptBody, has_body
from graft.switching.handlers import Handlers
from graft.switching.switches import READING_METHODS
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

READING_DEADLINE = 30.0
"""Seconds until a native GET or HEAD must have begun to answer, where switches.toml says nothing. A write has no
deadline unless it is given one: to cut it off half-way is worse than to wait."""

LARGEST_KEPT_BODY = 1024 * 1024
"""A GET with a larger body is not run again by the legacy side."""

OnAnswer = Callable[[str | None, float], None]
"""Called with the reason of a failure, or None, and the time (``time.monotonic()``) at which the run began."""

logger = logging.getLogger(__name__)


class NativeSide:
    """One route's native app as the switchboard calls it. ``deadline`` is in seconds, as in switches.toml."""

    def __init__(self, key: RouteKey, native: ASGIApp, legacy: ASGIApp, on_answer: OnAnswer) -> None:
        self.key = key
        self.app = native
        self.legacy = legacy
        self.on_answer = on_answer
        self.handlers = Handlers()
        self.deadlines = Deadlines()
        self.deadline: float | None = None

    def deadline_of(self, scope: Scope) -> float | None:
        return READING_DEADLINE if self.deadline is None and scope["method"] in READING_METHODS else self.deadline

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return _Run(self, scope, receive, send)()


class Deadlines:
    """Ends runs that did not begin to answer in time, with one timer for all: it looks ten times a deadline."""

    def __init__(self) -> None:
        self._waiting: dict[_Run, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = 0.0
        """When the timer ought to have rung: it did not if its event loop has ended."""

    def watch(self, run: _Run, now: float, seconds: float) -> None:
        self._waiting[run] = now + seconds
        if now >= self._overdue:
            self._look_in(seconds / 10, now)

    def leave(self, run: _Run) -> None:
        self._waiting.pop(run, None)

    def _look_in(self, seconds: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look, seconds)
        self._overdue = now + 2 * seconds

    def _look(self, seconds: float) -> None:
        now = time.monotonic()
        for run in [run for run, until in self._waiting.items() if until <= now]:
            del self._waiting[run]
            run.expire()
        if self._waiting:
            self._look_in(seconds, now)
        else:
            self._overdue = 0.0


class _Lost(Exception):
    """Ends a native run whose answer is not wanted any more. Never leaves this module."""


class _Run:
    """One request on the native side."""

    __slots__ = (
        "_expired",
        "_kept",
        "_lost",
        "_receive",
        "_rescuable",
        "_scope",
        "_send",
        "_side",
        "_started",
        "_status",
        "_task",
    )

    def __init__(self, side: NativeSide, scope: Scope, receive: Receive, send: Send) -> None:
        self._side = side
        self._scope = scope
        self._send = send
        self._rescuable = scope["method"] in READING_METHODS
        self._kept = KeptBody(receive, LARGEST_KEPT_BODY) if self._rescuable and has_body(scope) else None
        self._receive = self._kept or receive
        self._started = self._lost = self._expired = False
        self._status = 0
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        side, now = self._side, time.monotonic()
        error: Exception | None = None
        deadline = side.deadline_of(self._scope)
        if deadline is not None:
            self._task = asyncio.current_task()
            side.deadlines.watch(self, now, deadline)
        try:
            try:
                await side.app(self._scope, self._receive, self._begin)
            except Exception as raised:
                if self._started or self._lost:
                    raise
                await side.handlers.answer(raised, self._scope, self._receive, self._begin)
        except ClientDisconnect:
            raise
        except Exception as raised:
            error = raised
        except asyncio.CancelledError:
            if not self._expired:
                raise
        finally:
            side.deadlines.leave(self)
            if self._expired:
                self._take_back()
        if error is None and self._started and self._status < 500:
            side.on_answer(None, now)
        else:
            await self._failed(error, now)

    def expire(self) -> None:
        """The deadline is over: from here on the native side can't answer any more."""
        self._expired = self._lost = True
        if self._task is not None:
            self._task.cancel()

    def _take_back(self) -> None:
        """Take the cancellation back, unless somebody else has cancelled the request as well."""
        if self._task is not None and self._task.uncancel() > 0:
            raise asyncio.CancelledError

    def _begin(self, message: Message) -> Awaitable[None]:
        """``send`` as the native side sees it. No coroutine of its own: it hands the server's on."""
        if not self._started:
            if self._lost:
                raise _Lost
            if message["type"] == "http.response.start":
                self._status = message["status"]
                if self._status >= 500 and self._can_fall_back():
                    self._lost = True
                    raise _Lost
                self._started = True
                self._side.deadlines.leave(self)
        return self._send(message)

    def _can_fall_back(self) -> bool:
        return self._rescuable and not self._started and not (self._kept and self._kept.overflowed)

    async def _failed(self, error: Exception | None, now: float) -> None:
        failure = self._failure(error)
        self._side.on_answer(failure, now)
        if self._can_fall_back():
            await self._fall_back(failure, error)
        elif self._expired:
            logger.error("%s did not begin to answer natively in time", self._side.key)
            raise HTTPException(504, "This took too long.")
        elif error is not None:
            raise error

    def _failure(self, error: Exception | None) -> str | None:
        if self._status >= 500:
            return "status"
        if self._started:
            return "broken off" if error is not None else None
        return "deadline" if self._expired else "exception"

    async def _fall_back(self, failure: str | None, error: Exception | None) -> None:
        if failure == "exception":
            logger.error("%s failed natively, so the legacy side answers", self._side.key, exc_info=error)
        elif failure == "status":
            logger.error("%s answered %d natively, so the legacy side answers", self._side.key, self._status)
        else:
            logger.error(
                "%s did not begin to answer natively within %g s, so the legacy side answers",
                self._side.key,
                self._side.deadline_of(self._scope),
            )
        self._scope["graft.side"] = Side.FALLBACK
        kept = self._kept or KeptBody(self._receive, 0, complete=True)
        await self._side.legacy(self._scope, kept.again(), self._send)
