"""The switchboard of a subtree: all below one mount, under one switch. (event loop)

Only what reads has a mirror; what writes and WebSockets go by the share alone. A path that the legacy app does not have
is a native route's that nothing is switched about. All three kinds are counted, and tripped, together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from graft.mirroring.mirror import Mirror
from graft.operations.switch import READING_METHODS, Switch
from graft.operations.switches import Switches
from graft.request_record import RequestRecord
from graft.routing.starlette_private import route_path
from graft.switching.legacy_errors import with_legacy_errors
from graft.switching.switchboard import Switchboard
from graft.types import ASGIApp, Receive, Scope, Send, Side

BoardOf = Callable[[Mirror | None, bool], Switchboard]
LegacyHas = Callable[[str, Scope], bool]


class SubtreeBoard:
    """``board(mirror, is_websocket)`` makes a board of the subtree's key. ``plain`` and ``checked`` are its native side
    without and with the legacy app's checks; ``legacy_has`` tells whether the legacy app has a path, on the host of a
    scope.
    """

    def __init__(self, board: BoardOf, mirror: Mirror, plain: ASGIApp, checked: ASGIApp, legacy_has: LegacyHas) -> None:
        self.reading = board(mirror, False)
        self.writing = board(None, False)
        self.websockets = board(None, True)
        self._plain = plain
        self._checked = checked
        self._native = plain
        self._legacy_has = legacy_has

    @property
    def switch(self) -> Switch:
        return self.reading.switch

    def follow(self, switches: Switches) -> None:
        for board in (self.reading, self.writing, self.websockets):
            board.follow(switches)
        switch = self.switch
        app = self._checked if switch.hooks else self._plain
        self._native = with_legacy_errors(app) if switch.errors == "legacy" else app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not self._legacy_has(route_path(scope), scope):
            RequestRecord.of(scope).side = Side.NATIVE
            return self._native(scope, receive, send)
        if scope["type"] == "websocket":
            return self.websockets(scope, receive, send)
        board = self.reading if scope["method"] in READING_METHODS else self.writing
        return board(scope, receive, send)
