"""The switchboard: the ASGI app of one switched route, and the only place where the side is chosen.

It chooses a side by the share, falls back to the legacy side when the native one fails before its response started,
takes the route from the native side when that happens too often, and hands what was answered to the mirror.
``scope["graft.side"]`` says who answers from the moment that this is decided; ``X-Served-By`` is written from it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from elasticsearch import AsyncElasticsearch
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from graft.errors import SwitchesError
from graft.legacy.side import LegacySide
from graft.routing.table import Row
from graft.switching.answers import KeptBody, has_body
from graft.switching.differences import Differences
from graft.switching.edits import edit
from graft.switching.figures import Recorder, Unrecorded
from graft.switching.handlers import Handlers
from graft.switching.mirror import Mirror, Sides
from graft.switching.shares import Shares
from graft.switching.switches import READING_METHODS, Switch, Switches
from graft.switching.trips import Window
from graft.switching.watcher import Watcher
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

READING_DEADLINE = 30.0
"""Seconds until a native GET or HEAD must have begun to answer, where switches.toml says nothing. A write has no
deadline unless it is given one: to cut it off half-way is worse than to wait."""

LARGEST_KEPT_BODY = 1024 * 1024
"""A GET with a larger body is not run again by the legacy side."""

OnTrip = Callable[[RouteKey, str], Awaitable[None]]

logger = logging.getLogger(__name__)


class Switchboard:
    """One switched route: ``watcher.subscribe(board.follow)`` keeps it at what switches.toml says.

    ``checked`` is the native side behind the legacy app's checks; it answers unless the switch says ``hooks = false``.
    ``legacy_mirror`` is the legacy side for mirrored requests, on threads of its own. ``on_trip`` is awaited with the
    route and the reason; ``trip_in(path)`` makes one that writes switches.toml, which takes all workers along.
    """

    def __init__(
        self,
        key: RouteKey,
        native: ASGIApp,
        legacy: ASGIApp,
        *,
        checked: ASGIApp | None = None,
        legacy_mirror: ASGIApp | None = None,
        mirror: Mirror | None = None,
        recorder: Recorder | None = None,
        on_trip: OnTrip | None = None,
    ) -> None:
        self.key = key
        self.native = native
        self.legacy = legacy
        self._plain = native
        self._checked = checked or native
        self.recorder = recorder or Unrecorded()
        self.handlers = Handlers()
        self._legacy_mirror = legacy_mirror or legacy
        self._mirror = mirror
        self._on_trip = on_trip
        self._tripping: asyncio.Task[None] | None = None
        self._set(Switches().for_route(key))

    def follow(self, switches: Switches) -> None:
        switch = switches.for_route(self.key)
        if switch != self.switch:  # a trip that could not be written stays until somebody sets this route
            self._set(switch)

    def _set(self, switch: Switch) -> None:
        self.switch = switch
        self.native = self._plain if switch.hooks is False else self._checked
        self._sides = Sides(self.key, self.native, self._legacy_mirror, self.handlers)
        self._native_below = round(switch.share * 100)
        self._shares = Shares(self.key, switch.sticky)
        self._mirrored = switch.mirror / 100 if self._mirror is not None else 0.0
        self._window = Window(switch.trip)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._mirrored and random.random() < self._mirrored:
            await self._answer_and_mirror(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_native(scope):
            scope["graft.side"] = Side.NATIVE
            await _NativeRun(self, scope, receive, send)()
        else:
            scope["graft.side"] = Side.LEGACY
            await self.legacy(scope, receive, send)

    def _is_native(self, scope: Scope) -> bool:
        below = self._native_below
        return below == 10_000 or (below > 0 and self._shares.bucket(scope) < below)

    async def _answer_and_mirror(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._mirror is not None
        original = self._mirror.original(self._sides, self.switch, scope, receive, send)
        if original is None:
            await self._answer(scope, receive, send)
            return
        await self._answer(scope, original.receive, original.send)
        self._mirror.take(original, scope["graft.side"])

    def count(self, failure: str | None) -> None:
        """One native answer, with the reason where it failed."""
        if failure is not None:
            self.recorder.native_failed(self.key, failure)
        reason = self._window.count(time.monotonic(), failure is not None)
        if reason is not None and self._native_below:
            self._trip(reason)

    def _trip(self, reason: str) -> None:
        self._native_below = 0
        logger.error("%s was taken from the native side: %s. The legacy side answers now.", self.key, reason)
        self.recorder.tripped(self.key, reason)
        if self._on_trip is not None:
            self._tripping = asyncio.create_task(self._tell(self._on_trip, reason), name=f"graft-trip {self.key}")

    async def _tell(self, on_trip: OnTrip, reason: str) -> None:
        try:
            await on_trip(self.key, reason)
        except SwitchesError as error:
            logger.error("The trip of %s holds in this worker only, until it starts again: %s", self.key, error)
        except Exception:
            logger.exception("The trip of %s holds in this worker only, until it starts again", self.key)


def trip_in(path: Path) -> OnTrip:
    """Writes a trip to switches.toml: share 0, the reason and the time. One that is written already stays as it is."""

    def write(key: RouteKey, reason: str) -> None:
        with edit(path) as change:
            if change.switches.for_route(key).share > 0:
                change.set(key, share=0, tripped=reason, tripped_at=datetime.now(UTC).replace(microsecond=0))

    async def on_trip(key: RouteKey, reason: str) -> None:
        await asyncio.to_thread(write, key, reason)

    return on_trip


class _Lost(Exception):
    """Ends a native run whose answer is not wanted any more. Never leaves this module."""


class _NativeRun:
    """One request on the native side, with the legacy side behind it."""

    __slots__ = (
        "_board",
        "_clock",
        "_kept",
        "_lost",
        "_receive",
        "_rescuable",
        "_scope",
        "_send",
        "_started",
        "_status",
    )

    def __init__(self, board: Switchboard, scope: Scope, receive: Receive, send: Send) -> None:
        self._board = board
        self._scope = scope
        self._send = send
        self._rescuable = scope["method"] in READING_METHODS
        self._kept = KeptBody(receive, LARGEST_KEPT_BODY) if self._rescuable and has_body(scope) else None
        self._receive = self._kept or receive
        self._started = False
        self._lost = False
        self._status = 0

    async def __call__(self) -> None:
        error = await self._run()
        failure = self._failure(error)
        self._board.count(failure)
        if failure is None:
            return
        if self._can_fall_back():
            await self._fall_back(failure, error)
        elif self._clock.expired():
            logger.error("%s did not begin to answer natively within %s s", self._board.key, self._deadline())
            raise HTTPException(504, "This took too long.")
        elif error is not None:
            raise error

    async def _run(self) -> Exception | None:
        try:
            async with asyncio.timeout(self._deadline()) as self._clock:
                try:
                    await self._board.native(self._scope, self._receive, self._begin)
                except Exception as error:
                    if self._started or self._lost:
                        raise
                    await self._board.handlers.answer(error, self._scope, self._receive, self._begin)
        except ClientDisconnect:
            raise
        except Exception as error:
            return error
        return None

    def _deadline(self) -> float | None:
        set_one = self._board.switch.deadline
        return READING_DEADLINE if set_one is None and self._rescuable else set_one

    async def _begin(self, message: Message) -> None:
        """``send`` as the native side sees it."""
        if self._started:
            await self._send(message)
            return
        if self._lost or self._clock.expired():
            raise _Lost
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._status >= 500 and self._can_fall_back():
                self._lost = True
                raise _Lost
            self._started = True
            self._clock.reschedule(None)
        await self._send(message)

    def _can_fall_back(self) -> bool:
        return self._rescuable and not self._started and not (self._kept and self._kept.overflowed)

    def _failure(self, error: Exception | None) -> str | None:
        if self._status >= 500:
            return "status"
        if self._started:
            return "broken off" if error is not None else None
        return "deadline" if self._clock.expired() else "exception"

    async def _fall_back(self, failure: str, error: Exception | None) -> None:
        why = {"status": f"answered {self._status}", "deadline": f"did not begin to answer within {self._deadline()} s"}
        logger.error(
            "%s %s natively, so the legacy side answers",
            self._board.key,
            why.get(failure, "failed"),
            exc_info=error if failure == "exception" else None,
        )
        self._scope["graft.side"] = Side.FALLBACK
        kept = self._kept or KeptBody(self._receive, 0, complete=True)
        await self._board.legacy(self._scope, kept.again(), self._send)


class Switching:
    """The switchboards of all switched routes, and what they share."""

    def __init__(self, watcher: Watcher, legacy: LegacySide, recorder: Recorder | None = None) -> None:
        self.watcher = watcher
        self._legacy = legacy
        self._recorder = recorder
        self._mirror = Mirror(recorder=recorder)

    def app(self, row: Row, native: ASGIApp) -> ASGIApp:
        """What answers one method of a native route: a switchboard where the legacy side has it too.

        The legacy app's checks run around it as switches.toml says: by default those of a switched route.
        """
        plain = self._legacy.around(native, row.legacy, checks=False)
        checked = self._legacy.around(native, row.legacy, checks=True)
        if row.legacy is None:
            return plain if checked is plain else self._following(Checked(row.key, plain, checked))
        return self._following(
            Switchboard(
                row.key,
                plain,
                self._legacy.mount,
                checked=checked,
                legacy_mirror=self._legacy.mirror,
                mirror=self._mirror,
                recorder=self._recorder,
                on_trip=trip_in(self.watcher.path),
            )
        )

    def _following(self, app: _Follower) -> ASGIApp:
        self.watcher.subscribe(app.follow)
        return app

    @asynccontextmanager
    async def running(self, elasticsearch: AsyncElasticsearch) -> AsyncIterator[None]:
        """For the lifespan: follow switches.toml, mirror, and keep what differs."""
        async with self.watcher, Differences(elasticsearch) as differences, self._mirror:
            self._mirror.keep_in(differences)
            yield


class Checked:
    """A native-only route of an app with checks: switches.toml may ask for them, ``hooks = true``."""

    def __init__(self, key: RouteKey, plain: ASGIApp, checked: ASGIApp) -> None:
        self.key = key
        self._plain = plain
        self._checked = checked
        self._app = plain

    def follow(self, switches: Switches) -> None:
        self._app = self._checked if switches.for_route(self.key).hooks else self._plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Follower(Protocol):
    def follow(self, switches: Switches) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...
