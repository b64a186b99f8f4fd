"""The switchboard: which side answers a request of one switched route."""

from __future__ import annotations

from graft.types import ASGIApp, Receive, RouteKey, Scope, Send, Side


class Switchboard:
    """The ASGI app of one switched route."""

    def __init__(self, key: RouteKey, native: ASGIApp, legacy: ASGIApp) -> None:
        self.key = key
        self.native = native
        self.legacy = legacy
        self.share = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.share >= 100:
            await self.native(scope, receive, send)
        else:
            scope["graft.side"] = Side.LEGACY
            await self.legacy(scope, receive, send)
