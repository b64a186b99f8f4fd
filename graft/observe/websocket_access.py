"""The access record of a WebSocket: one line and one count when it is over, and how many are open."""

from __future__ import annotations

import time

from prometheus_client import Gauge
from starlette.routing import WebSocketRoute

from graft.figures.prometheus import REGISTRY
from graft.observe.access import AccessRecord, UserOf
from graft.tasks.commits import send_when_written
from graft.types import WEBSOCKET, Message, Scope, Send

_open = Gauge(
    "graft_websockets", "WebSockets that are open, on both sides.", registry=REGISTRY, multiprocess_mode="livesum"
)


class WebSocketRecord(AccessRecord):
    """One WebSocket, from its handshake until ``close``. Used on the event loop.

    Its status is 101 when it was accepted, else that of the answer. The line has the time until it was over, the
    figures that until it was answered: how long people talk says nothing of how quick a side is.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        super().__init__(scope, send)
        _open.inc()

    async def send(self, message: Message) -> None:
        """Acceptance and refusal get ``X-Request-ID`` and ``X-Served-By`` on their way out; all waits for new tasks."""
        kind = message["type"]
        if not self.status:
            if kind == "websocket.accept":
                self.request.accepted = time.perf_counter()
            elif kind == "websocket.close":
                self.status = 403
            elif kind == "websocket.http.response.start":
                self.status = message["status"]
        if kind in ("websocket.accept", "websocket.http.response.start"):
            message = {**message, "headers": self.headers(message.get("headers", ()))}
        await send_when_written(self._request_id, self._send, message)

    def close(self, user_of: UserOf | None) -> None:
        _open.dec()
        if self.request.accepted is not None:
            self.status = 101
            self.answered_at = self.request.accepted
        route = self.scope.get("route")
        if self.request.route is None and isinstance(route, WebSocketRoute):
            self.request.route = f"{WEBSOCKET} {route.path}"
        super().close(user_of)
