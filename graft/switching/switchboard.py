"""The switchboard: which side answers a request of a switched route."""

from __future__ import annotations

from graft.routing.table import Row
from graft.switching.switches import Switches
from graft.switching.watcher import Watcher
from graft.types import ASGIApp, Receive, RouteKey, Scope, Send, Side


class Switchboard:
    """The ASGI app of one switched route. ``follow`` keeps it at what switches.toml says."""

    def __init__(self, key: RouteKey, native: ASGIApp, legacy: ASGIApp) -> None:
        self.key = key
        self._native = native
        self._legacy = legacy
        self._share = 0.0

    def follow(self, switches: Switches) -> None:
        self._share = switches.for_route(self.key).share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._share >= 100:
            await self._native(scope, receive, send)
        else:
            scope["graft.side"] = Side.LEGACY
            await self._legacy(scope, receive, send)


class Switching:
    """The switchboards of all switched routes, and what they follow."""

    def __init__(self, watcher: Watcher, legacy: ASGIApp) -> None:
        self.watcher = watcher
        self._legacy = legacy

    def switched(self, row: Row, native: ASGIApp) -> ASGIApp:
        """The app of one switched route."""
        board = Switchboard(row.key, native, self._legacy)
        self.watcher.subscribe(board.follow)
        return board
