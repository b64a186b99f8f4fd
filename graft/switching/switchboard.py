"""The switchboard: the ASGI app of one switched route, and the only place where the side is chosen.

It chooses a side by the share, falls back to the legacy side when the native one fails before its response started,
takes the route from the native side when that happens too often, and hands what was answered to the mirror.
The request's record has the side from the moment that this is decided; ``X-Served-By`` is written from it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from graft.errors import SwitchesError
from graft.figures.recorder import Recorder, Unrecorded
from graft.mirroring.mirror import Mirror, Sides
from graft.operations.edits import edit
from graft.operations.switches import Switch, Switches
from graft.request_record import RequestRecord
from graft.switching.native_side import NativeSide
from graft.switching.shares import Shares
from graft.types import ASGIApp, Receive, RouteKey, Scope, Send, Side

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
        self.legacy = legacy
        self.recorder = recorder or Unrecorded()
        self._plain = native
        self._checked = checked or native
        self._native = NativeSide(key, native, legacy, self._failed)
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
        self._native_below = round(switch.share * 100)
        self._shares = Shares(self.key, switch.sticky)
        self._mirrored = switch.mirror / 100 if self._mirror is not None else 0.0
        self._is_all_native = switch.share == 100 and not self._mirrored
        self._native.follow(switch)
        self._native.app = self._plain if switch.hooks is False else self._checked
        self._sides = Sides(self.key, self._native.app, self._legacy_mirror, self._native.handlers)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._is_all_native:
            RequestRecord.of(scope).side = Side.NATIVE
            return self._native(scope, receive, send)
        if self._mirrored and random.random() < self._mirrored:
            return self._answer_and_mirror(scope, receive, send)
        return self._answer(scope, receive, send)

    def _answer(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._is_native(scope):
            RequestRecord.of(scope).side = Side.NATIVE
            return self._native(scope, receive, send)
        RequestRecord.of(scope).side = Side.LEGACY
        return self.legacy(scope, receive, send)

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
        self._mirror.take(original, RequestRecord.of(scope).side)

    def _failed(self, failure: str, too_many: str | None) -> None:
        self.recorder.native_failed(self.key, failure)
        if too_many is not None and self._native_below:
            self._trip(too_many)

    def _trip(self, reason: str) -> None:
        self._native_below = 0
        self._is_all_native = False
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
