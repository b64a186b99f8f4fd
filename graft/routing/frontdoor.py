"""The front door: every request comes in here and every response leaves here.

It gives the request its id and clock, finds the side and the route that answer it, turns what was raised into an error
response, and writes one access record. It stands as the last middleware in the app's list: middleware in front
of it sees every request, and none may stand behind it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from werkzeug.routing import Rule

from graft.connection.forwarded import ForwardedHeaders
from graft.figures.recorder import RECORDER
from graft.flaskside.rules import template
from graft.observe import requestid
from graft.request_record import KEY, RequestRecord
from graft.routing.handlers import Handlers
from graft.routing.method_fallbacks import Corners
from graft.routing.router import Entry, RouteIndex
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

access_log = logging.getLogger("graft.access")
log = logging.getLogger("graft")

UserOf = Callable[[Scope], str | None]

UNMATCHED = "(no route)"
"""The label of requests that no rule of the legacy app and no native route matches."""


class FrontDoor:
    """``app`` is what Starlette puts behind its middleware; ``legacy`` the mounted app, to tell the sides apart.

    ``legacy_has(path)`` tells whether the legacy app has a rule for a path; without it, every path might be one of its.
    ``user_of(scope)`` tells who is logged in, for the access record.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        legacy: ASGIApp | None = None,
        legacy_has: Callable[[str], bool] | None = None,
        user_of: UserOf | None = None,
    ) -> None:
        self.app = app
        self.legacy = legacy
        self._legacy_has = legacy_has
        self._user_of = user_of
        self.index: RouteIndex | None = None
        self.corners: Corners | None = None
        self._handlers: Handlers | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pass_on(scope, receive, send)
            return
        if self.index is None:
            self._open(scope["app"])
        record = _Record(scope, send, self.corners)
        entry: Entry | None = None
        try:
            entry = self.index.find(scope)  # type: ignore[union-attr]
            if entry is None:
                raise HTTPException(404)
            app = entry.app
            if app is self.legacy:
                app = self.corners.answer(scope) or app  # type: ignore[union-attr]
                if app is self.legacy:
                    record.kept.side = Side.LEGACY
            await app(scope, receive, record.send)
        except Exception as error:
            if record.status:
                raise
            await self._tell(error, scope, receive, record.send)
        finally:
            record.close(entry, self.legacy, self._user_of)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._talk(scope, receive, send)
        else:
            await self.app(scope, receive, send)
            RECORDER.flush()  # the lifespan is over, and with it the loop that would have done it

    def _open(self, starlette: Any) -> None:
        """At the first request, when the app is complete."""
        if not isinstance(self.app, ExceptionMiddleware):
            raise RuntimeError(
                "FrontDoor has to be the last middleware in the list; what stands behind it is never called"
            )
        self._handlers = Handlers(starlette, unexpected=True)
        self.index = RouteIndex(starlette.routes)
        self.corners = Corners(self.index, self._legacy_has)
        if all(layer.cls in (ForwardedHeaders, FrontDoor) for layer in starlette.user_middleware):
            # Nothing else stands in front: Starlette's outer layer, for errors, would only watch this one do its work.
            starlette.middleware_stack = getattr(starlette.middleware_stack, "app", self)

    async def _tell(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the handler that the app has for ``error``; what none expects is logged with its traceback."""
        try:
            await self._handlers.answer(error, scope, receive, send)  # type: ignore[union-attr]
        except Exception as unexpected:
            if unexpected is not error:
                raise
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: Starlette's own routing; its acceptance or refusal carries the request id too."""
        request_id = requestid.take(scope["headers"])
        requestid.current.set(request_id)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                headers = [*message.get("headers", ()), (requestid.HEADER, request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_id)


class _Record:
    """What is known of one request; ``send`` stands in for the server's."""

    __slots__ = ("_corners", "_request_id", "_scope", "_send", "_started", "kept", "status")

    def __init__(self, scope: Scope, send: Send, corners: Corners | None) -> None:
        self._corners = corners
        self.status = 0
        self._started = time.perf_counter()
        self._scope = scope
        self._send = send
        self._request_id = request_id = requestid.take(scope["headers"])
        requestid.current.set(request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        outer: RequestRecord | None = scope.get(KEY)
        scope[KEY] = self.kept = RequestRecord(is_mirrored=outer is not None and outer.is_mirrored)

    def send(self, message: Message) -> Any:
        """No coroutine of its own: it hands the server's on, one frame less a message."""
        if not self.status and message["type"] == "http.response.start":
            self.status = message["status"]
            theirs = message.get("headers", ())
            for name, _ in theirs:
                if name in _OURS:
                    theirs = [pair for pair in theirs if pair[0] not in _OURS]
                    break
            request_id = (requestid.HEADER, self._request_id.encode("ascii"))
            headers = [*theirs, request_id, _SERVED_BY[self.kept.side]]
            if (self.status == 405 or self._scope["method"] == "OPTIONS") and self._corners is not None:
                self._corners.complete(self._scope, headers)
            message["headers"] = headers
        return self._send(message)

    def close(self, entry: Entry | None, legacy: ASGIApp | None, user_of: UserOf | None) -> None:
        scope = self._scope
        seconds = time.perf_counter() - self._started
        side = self.kept.side
        if entry is None:
            route = UNMATCHED
        elif entry.app is legacy:
            route = _legacy_route(self.kept.legacy_rule, scope["method"])
        else:
            route = entry.label(scope["method"])
        self.kept.route = route  # for traces
        RECORDER.answered(route, side, self.status or 500, seconds)
        if access_log.isEnabledFor(logging.INFO):
            self._write(route, side, seconds, user_of(scope) if user_of is not None else None)

    def _write(self, route: str, side: Side, seconds: float, user: str | None) -> None:
        scope = self._scope
        client = scope.get("client")
        access_log.info(
            "%s %s %s %s %.1f ms",
            scope["method"],
            scope["path"].encode("unicode_escape").decode("ascii"),
            self.status or "cut off",
            side,
            seconds * 1000,
            extra={
                "request_id": self._request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": self.status,
                "side": str(side),
                "route": route,
                "duration_ms": round(seconds * 1000, 3),
                "client": client[0] if client else None,
                "user": user,
            },
        )


def _legacy_route(rule: Rule | None, method: str) -> str:
    """The Flask rule that answered, as the mount noted it; other WSGI apps have none."""
    if rule is None:
        return UNMATCHED
    if method == "HEAD" and "GET" in (rule.methods or ()):
        method = "GET"
    return _label(method, rule.rule)


@cache
def _label(method: str, rule: str) -> str:
    """Flask refused all other methods before it got here, so this cache grows no further than the url map."""
    return str(RouteKey(method, template(rule)))


_SERVED_BY = {side: (b"x-served-by", side.value.encode()) for side in Side}
_OURS = frozenset({requestid.HEADER, b"x-served-by"})
