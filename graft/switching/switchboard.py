"""The switchboard: the ASGI app of one switched route, and the only place where the side is chosen.

``choose`` does it by the share, for each client the same. A request that is for the mirror, too, is handed to it when
the user has the answer. ``NativeSide`` falls back to the legacy side where the native one fails before its response
started. When that happens too often, ``_trip`` takes the route from the native side, here at once, in the other workers
by the counts at once, and by the switches.
The request's record has the side from the moment that this is decided; ``X-Served-By`` is written from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from graft.chance import CHANCE
from graft.errors import SwitchesError
from graft.figures.recorder import RECORDER, Recorder
from graft.mirroring.mirror import Mirror
from graft.mirroring.original import Sides
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.request_record import RequestRecord
from graft.routing.choosing import Choosing
from graft.switching.legacy_errors import with_legacy_errors
from graft.switching.native_side import NativeSide
from graft.switching.shares import ClientKeys, Shares
from graft.switching.trip_counts import TRIPPED, TripCounts
from graft.switching.websocket_side import WebSocketSide
from graft.types import WEBSOCKET, ASGIApp, Receive, RouteKey, Scope, Send, Side

RecordTrip = Callable[[RouteKey, str], object]

logger = logging.getLogger(__name__)


class Switchboard(Choosing):
    """One switched route. It runs on the event loop; ``follower.subscribe(board.follow)`` keeps it up to date.

    ``checked`` is the native side behind the legacy app's checks; it answers unless the switch says ``hooks = false``.
    ``legacy_mirror`` is the legacy side for mirrored requests, on threads of its own. ``record_trip(key, reason)`` puts
    a trip where the other workers see it. It blocks, so it is called in a thread; the route is off the native side
    in this worker by then. ``websocket`` says of a key for every kind of request that this board has the WebSockets.
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
        record_trip: RecordTrip | None = None,
        counts: TripCounts | None = None,
        client_keys: ClientKeys | None = None,
        websocket: bool = False,
    ) -> None:
        self.key = key
        self._client_keys = client_keys or ClientKeys()
        self.legacy = legacy
        self.recorder = recorder or RECORDER
        self._plain = native
        self._checked = checked or native
        side = WebSocketSide if websocket or key.method == WEBSOCKET else NativeSide
        self._native = side(key, native, legacy, self._native_failed, counts or TripCounts())
        self._row = self._native.row
        self._legacy_mirror = legacy_mirror or legacy
        self._mirror = mirror
        self._record_trip = record_trip
        self._recording: asyncio.Task[None] | None = None
        self._set(Switches().for_route(key))

    def follow(self, switches: Switches) -> None:
        """Go by ``switches`` from the next request on. (event loop)"""
        switch = switches.for_route(self.key)
        # Not while the route's own switch is the same: a trip that could not be recorded is known here only, and would
        # end with the next change of any other route. It stays until somebody sets this one.
        if switch != self.switch:
            self._set(switch)

    def _set(self, switch: Switch) -> None:
        self.switch = switch
        self._native_below = round(switch.share * 100)
        self._shares = Shares(self.key, self._client_keys(switch.sticky))
        self._mirrored = 0.0
        if self._mirror is not None:
            self._mirrored = switch.mirror / 100
            self._mirror.follow(self.key)
        self._is_all_native = switch.share == 100 and not self._mirrored
        self._native.follow(switch)
        app = self._plain if switch.hooks is False else self._checked
        self._native.app = with_legacy_errors(app) if switch.errors == "legacy" else app
        self._sides = Sides(self.key, self._native.app, self._legacy_mirror, self._native.handlers)

    def choose(self, scope: Scope) -> ASGIApp:
        if self._native_below and self._row.numbers[TRIPPED]:
            self._go_dark()
            if not self._row.tripped_here:  # by another board of a subtree
                logger.warning("%s was taken from the native side, as another worker saw too many failures", self.key)
        if self._is_all_native:
            RequestRecord.of(scope).side = Side.NATIVE
            return self._native
        mirror = self._mirror
        if mirror is not None and CHANCE.random() < self._mirrored and mirror.admits(self.key):
            return self._answer_and_mirror
        return self._side(scope)

    def _side(self, scope: Scope) -> ASGIApp:
        if self.is_native(scope):
            RequestRecord.of(scope).side = Side.NATIVE
            return self._native
        RequestRecord.of(scope).side = Side.LEGACY
        return self.legacy

    def is_native(self, scope: Scope) -> bool:
        """Whether the native side is to answer ``scope``. (a test may put another choice in its place)"""
        below = self._native_below
        return below == 10_000 or (below > 0 and self._shares.bucket(scope) < below)

    async def _answer_and_mirror(self, scope: Scope, receive: Receive, send: Send) -> None:
        mirror = self._mirror
        assert mirror is not None
        original = mirror.original(self._sides, self.switch, scope, receive, send)
        if original is None:
            await self._side(scope)(scope, receive, send)
        else:
            await self._side(scope)(scope, original.receive, original.send)
            mirror.take(original, RequestRecord.of(scope).side)

    def _native_failed(self, failure: str, too_many: str | None) -> None:
        """One native answer failed, for the reason ``failure``; ``too_many`` is the reason to trip, if it is one.

        Called by ``NativeSide`` on the event loop.
        """
        self.recorder.native_failed(self.key, failure)
        if too_many is not None and self._native_below and not self._row.tripped_here:
            self._trip(too_many)

    def _trip(self, reason: str) -> None:
        # First here and in the other workers, and without an await before it: a request that comes in between would go
        # to the native side still, and could trip the route a second time.
        self._go_dark()
        self._row.tripped_here = True
        self._native.window.trip()
        logger.error("%s was taken from the native side: %s. The legacy side answers now.", self.key, reason)
        self.recorder.tripped(self.key, reason)
        if self._record_trip is not None:
            self._recording = asyncio.create_task(
                self._record(self._record_trip, reason), name=f"graft-trip {self.key}"
            )

    def _go_dark(self) -> None:
        """Until the route's switch changes."""
        self._native_below = 0
        self._is_all_native = False

    async def _record(self, record_trip: RecordTrip, reason: str) -> None:
        try:
            await asyncio.to_thread(record_trip, self.key, reason)
        except SwitchesError as error:
            logger.error(
                "The trip of %s holds in the workers that run now, until they start again: %s", self.key, error
            )
        except Exception:
            logger.exception("The trip of %s holds in the workers that run now, until they start again", self.key)
