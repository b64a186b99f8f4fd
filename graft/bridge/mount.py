"""A WSGI app under the loop: takes a2wsgi's place wherever that one is used."""

from __future__ import annotations

import logging
from typing import Any, cast

from a2wsgi import WSGIMiddleware

from graft.bridge.exchange import Exchange
from graft.bridge.limits import Limits
from graft.bridge.websocket import WebSocketExchange
from graft.bridge.wsgi_call import WSGIApp
from graft.flaskside.async_views import AsyncViews
from graft.settings import LegacyLoop
from graft.threads.connection_threads import ConnectionThreads
from graft.threads.pool import Pool
from graft.types import Receive, Scope, Send

# The size that one place of a2wsgi's send queue stands for.
SEND_CHUNK = 64 * 1024
# How long a shutdown waits for requests in threads, in seconds.
CLOSING = 30.0

log = logging.getLogger("graft.legacy")


class LegacyMount(WSGIMiddleware):
    """``app`` answers in worker threads; the loop reads, sends and never blocks.

    ``workers`` threads at most, started when first needed, in each process; ``queue`` requests may wait for one, above
    it 503. ``timeout`` seconds to the first byte, above it 504. ``max_body`` bytes, above it 413. ``stall_timeout``
    seconds that a client may neither read its stream nor send its body. None turns a limit off. A stream gets
    ``send_queue_size`` times 64 KiB ahead of its client. Async views of a Flask app run on ``loop``; their threads wait
    parked, up to 512 above ``workers``. A second mount of the same app is given the ``async_views`` of the first: a
    client that the app made once lives on one loop. A WebSocket of the app has a thread beside these, ``websockets`` at
    most; 0 refuses each handshake.
    """

    def __init__(
        self,
        app: WSGIApp,
        workers: int = 10,
        send_queue_size: int = 10,
        *,
        queue: int = 64,
        timeout: float | None = None,
        max_body: int | None = None,
        stall_timeout: float | None = 30.0,
        loop: LegacyLoop = LegacyLoop.AUTO,
        websockets: int = 2000,
        name: str = "legacy",
        async_views: AsyncViews | None = None,
    ) -> None:
        super().__init__(cast(Any, app), workers, send_queue_size)
        self.pool = Pool(workers, queue, name)
        self.websockets = ConnectionThreads(websockets, f"{name}-websocket")
        self.async_views = async_views or AsyncViews(loop)
        if async_views is None:
            self.async_views.install(app)
        self.limits = Limits(timeout, max_body, stall_timeout, max(send_queue_size, 1) * SEND_CHUNK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        if scope["type"] == "http":
            await Exchange(self.pool, self.limits, scope, receive, send).run(cast(WSGIApp, self.app))
        elif scope["type"] == "websocket":
            if self.websockets.limit:
                exchange = WebSocketExchange(self.websockets, self.limits, scope, receive, send)
                await exchange.run(cast(WSGIApp, self.app), self.pool.scheduler())
            else:
                await self._decline(receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def aclose(self, timeout: float | None = None) -> bool:
        """End the threads after their requests. False when some still work after ``timeout`` seconds."""
        ended = await self.pool.aclose(timeout)
        self.async_views.close(timeout)
        return ended

    def close(self, timeout: float | None = None) -> bool:
        """``aclose`` for where no loop runs."""
        ended = self.pool.close(timeout)
        self.async_views.close(timeout)
        return ended

    async def _decline(self, receive: Receive, send: Send) -> None:
        """WebSockets are switched off: the handshake is refused, which a client sees as 403."""
        await receive()
        await send({"type": "websocket.close", "code": 1000, "reason": "no WebSocket here"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if not await self.aclose(CLOSING):
            log.error("threads still work after %s s, they are left behind: %s", CLOSING, self.pool.stats())
        await send({"type": "lifespan.shutdown.complete"})
