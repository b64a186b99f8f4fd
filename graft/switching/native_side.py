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

from graft.error_handlers import ErrorHandlers
from graft.mirroring.answers import KeptBody, has_body
from graft.operations.switch import READING_METHODS, Switch
from graft.request_record import RequestRecord
from graft.switching.trip_counts import TripCounts, hash_of
from graft.switching.trips import Window
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

READING_DEADLINE = 30.0
"""Seconds until a native GET or HEAD must have begun to answer, where switches.toml says nothing. A write has no
deadline unless it is given one: to cut it off half-way is worse than to wait."""

LARGEST_KEPT_BODY = 1024 * 1024
"""A GET with a larger body is not run again by the legacy side."""

OnFailure = Callable[[str, str | None], None]
"""Called with the reason of a failure, and the reason to trip if this was one failure too many."""

logger = logging.getLogger(__name__)


class NativeSide:
    """One route's native app as the switchboard calls it; ``follow`` sets what switches.toml says."""

    def __init__(
        self, key: RouteKey, native: ASGIApp, legacy: ASGIApp, on_failure: OnFailure, counts: TripCounts
    ) -> None:
        self.key = key
        self._counts = counts
        self.row = counts.row(key)
        self.app = native
        self.legacy = legacy
        self.on_failure = on_failure
        self.handlers = ErrorHandlers()
        self.deadlines = Deadlines()
        self.follow(Switch())

    def follow(self, switch: Switch) -> None:
        self.window = Window(switch.trip, self.row, self._counts, hash_of(repr(switch)))
        self.write_deadline = switch.deadline
        self.read_deadline = READING_DEADLINE if switch.deadline is None else switch.deadline

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return _Run(self, scope, receive, send)()


class Deadlines:
    """Ends runs that did not begin to answer in time. Used on the event loop.

    ``waiting`` has the time of each run's deadline: a run puts itself in, starts the timer if ``overdue`` is over, and
    takes itself out. One timer for all looks ten times a deadline.

    ``asyncio.timeout`` would do for most of it, but it cancels once, and a client library that swallows that leaves the
    user waiting without end; and it makes and cancels a timer for every request.
    """

    def __init__(self) -> None:
        self.waiting: dict[_Run, float] = {}
        self.overdue = 0.0
        """when the timer ought to have run: it did not if its event loop has ended"""
        self._timer: asyncio.TimerHandle | None = None

    def start_timer(self, seconds: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire_overdue, seconds)
        self.overdue = now + 2 * seconds

    def _expire_overdue(self, seconds: float) -> None:
        now = time.monotonic()
        for run, until in self.waiting.items():
            if until <= now:
                run.expire()
        if self.waiting:
            self.start_timer(seconds, now)
        else:
            self.overdue = 0.0


class _Discarded(Exception):
    """Ends a native run whose answer is not wanted any more. Never leaves this module."""


class _Run:
    """One request on the native side."""

    # Set on the way where it matters. Most requests never touch them, and class attributes cost those nothing.
    _kept: KeptBody | None = None
    _started = _discarded = False
    _status = 0
    _expired = 0
    """how often it was cancelled for its deadline"""

    def __init__(self, side: NativeSide, scope: Scope, receive: Receive, send: Send) -> None:
        self._side = side
        self._scope = scope
        self._receive = receive
        self._send = send
        self._rescuable = scope["method"] in READING_METHODS

    async def __call__(self) -> None:
        side, now = self._side, time.monotonic()
        error: Exception | None = None
        receive = self._read if self._rescuable else self._receive
        deadlines = side.deadlines
        if (deadline := side.read_deadline if self._rescuable else side.write_deadline) is not None:
            self._task = asyncio.current_task()
            deadlines.waiting[self] = now + deadline
            if now >= deadlines.overdue:
                deadlines.start_timer(deadline / 10, now)
        try:
            try:
                await side.app(self._scope, receive, self._begin)
            except Exception as raised:
                if self._started or self._discarded:
                    raise
                await side.handlers.answer(raised, self._scope, receive, self._begin)
        except ClientDisconnect:
            raise
        except Exception as raised:
            error = raised
        except asyncio.CancelledError:
            if not self._expired:
                raise
        finally:
            if not self._started:
                deadlines.waiting.pop(self, None)
            if self._expired:
                self._take_back()
        if error is None and self._started and self._status < 500:
            side.window.succeeded(now)
        else:
            await self._failed(error, now)

    def _read(self) -> Awaitable[Message]:
        """``receive`` as the native side sees it, if what it reads may have to be read again."""
        if self._kept is None:
            self._kept = KeptBody(self._receive, LARGEST_KEPT_BODY, complete=not has_body(self._scope))
        return self._kept()

    def expire(self) -> None:
        """The deadline is over: from here on the native side can't answer any more.

        Called again until it has ended: a cancellation can get lost on its way through a client library.
        """
        self._expired += 1
        self._discarded = True
        assert self._task is not None
        self._task.cancel()

    def _take_back(self) -> None:
        """Take the cancellations back; if somebody else has cancelled the request as well, it stays so."""
        assert self._task is not None
        for _ in range(self._expired):
            self._task.uncancel()
        if self._task.cancelling():
            raise asyncio.CancelledError

    def _begin(self, message: Message) -> Awaitable[None]:
        """``send`` as the native side sees it. No coroutine of its own: it hands the server's on."""
        if not self._started:
            if self._discarded:
                raise _Discarded
            if message["type"] == "http.response.start":
                self._status = message["status"]
                if self._status >= 500 and self._can_fall_back():
                    self._discarded = True
                    raise _Discarded
                self._started = True
                self._side.deadlines.waiting.pop(self, None)
        return self._send(message)

    def _can_fall_back(self) -> bool:
        return self._rescuable and not self._started and not (self._kept and self._kept.overflowed)

    async def _failed(self, error: Exception | None, now: float) -> None:
        failure = self._failure(error)
        self._side.on_failure(failure, self._side.window.failed(now))
        if self._can_fall_back():
            await self._fall_back(failure, error)
        elif self._expired:
            logger.error("%s did not begin to answer natively in time", self._side.key)
            raise HTTPException(504, "This took too long.")
        elif error is not None:
            raise error

    def _failure(self, error: Exception | None) -> str:
        if self._status >= 500:
            return "status"
        if self._started:
            return "broken off"
        return "deadline" if self._expired else "exception"

    async def _fall_back(self, failure: str, error: Exception | None) -> None:
        if failure == "exception":
            logger.error("%s failed natively, so the legacy side answers", self._side.key, exc_info=error)
        elif failure == "status":
            # An app of a framework's was stopped while it answered an exception: that one is the cause.
            cause = error.__context__ if isinstance(error, _Discarded) else None
            logger.error(
                "%s answered %d natively, so the legacy side answers", self._side.key, self._status, exc_info=cause
            )
        else:
            logger.error(
                "%s did not begin to answer natively within %g s, so the legacy side answers",
                self._side.key,
                self._side.read_deadline,
            )
        RequestRecord.of(self._scope).side = Side.FALLBACK
        kept = self._kept or KeptBody(self._receive, 0, complete=not has_body(self._scope))
        await self._side.legacy(self._scope, kept.again(), self._send)
