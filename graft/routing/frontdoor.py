"""The front door: every request comes in here and every response leaves here.

It stands as the last middleware in the app's list: middleware in front of it sees every request, and none may stand
behind it. ``FrontDoor.__call__`` is the way of a request from top to bottom.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect

from graft.connection.forwarded import ForwardedHeaders
from graft.error_handlers import ErrorHandlers
from graft.figures.recorder import RECORDER
from graft.observe.access import AccessRecord, UserOf
from graft.observe.access_log import ACCESS_LOG
from graft.observe.websocket_access import WebSocketRecord
from graft.request_record import RequestRecord
from graft.routing.choosing import Choosing
from graft.routing.method_fallbacks import LegacyHas, MethodFallbacks
from graft.routing.router import IndexedRouter
from graft.routing.starlette_private import HANDLERS_KEY, fallbacks, handlers_of
from graft.types import ASGIApp, Receive, Scope, Send, Side

log = logging.getLogger("graft")


class FrontDoor:
    """``app`` is what Starlette puts behind its middleware; ``legacy`` the mounted app, to tell the sides apart.

    ``legacy_has(path, scope)`` tells whether the legacy app has a rule for a path on that host; without it, every path
    might be one of its. ``user_of(scope)`` tells who is logged in, for the access record. Called on the event loop.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        legacy: ASGIApp | None = None,
        legacy_has: LegacyHas | None = None,
        user_of: UserOf | None = None,
    ) -> None:
        self.app = app
        self.legacy = legacy
        self._legacy_has = legacy_has
        self.user_of = user_of
        self._routing: _Routing | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        routing = self._routing or self._routing_of(scope["app"])
        if scope["type"] != "http":
            await self._pass_on(scope, receive, send)
            return
        access = AccessRecord(scope, send)
        access.enter()
        scope[HANDLERS_KEY] = routing.handler_tables  # a route with middleware of its own answers errors inside it
        await self.answer(access, None, scope, receive)

    @property
    def handler_tables(self) -> Any:
        """For the scope; None until the first one of any kind has come by."""
        return None if self._routing is None else self._routing.handler_tables

    def find(self, scope: Scope, record: RequestRecord) -> ASGIApp | None:
        """What answers an HTTP request, entered into its scope; None where only ``answer`` can tell, or raise.

        The legacy app is found only where its answer goes out as it is.
        """
        routing = self._routing
        assert routing is not None
        try:
            app = routing.router.find(scope)
            if app is self.legacy:
                if record.has_other_methods or routing.fallbacks.answer(scope, record) is not None:
                    return None
                record.route = None  # the rule that answers names it
                record.side = Side.LEGACY
            return app.choose(scope) if isinstance(app, Choosing) else app
        except Exception:  # of a route that decides by itself
            return None

    async def answer(self, access: AccessRecord, app: ASGIApp | None, scope: Scope, receive: Receive) -> None:
        """Answer by ``app``, or without one by the route's, and close the record."""
        routing = self._routing
        assert routing is not None
        try:
            send: Send = access.send
            if app is None:
                app = routing.router.find(scope)
                if app is self.legacy:
                    record = access.request
                    record.route = None  # the rule that answers names it
                    app = routing.fallbacks.answer(scope, record) or app
                    if app is self.legacy:
                        record.side = Side.LEGACY
                        if record.has_other_methods:
                            send = routing.fallbacks.with_native_methods(scope, send)
            await app(scope, receive, send)
        except Exception as error:
            if access.status:
                raise
            if isinstance(error, ClientDisconnect):  # nobody is there to be told
                access.request.client_left = True
                return
            await routing.answer_error(error, scope, receive, access.send)
        finally:
            access.close(self.user_of)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, which Starlette routes by itself, or the lifespan."""
        if scope["type"] == "websocket":
            access = WebSocketRecord(scope, send)
            access.enter()
            try:
                await self.app(scope, receive, access.send)
            finally:
                access.close(self.user_of)
        else:
            await self.app(scope, receive, send)
            RECORDER.publish()  # the lifespan is over, and with it the loop that would have done it
            ACCESS_LOG.end()

    def _routing_of(self, starlette: Any) -> _Routing:
        """At the first scope of any kind, when ``starlette`` has all its middleware."""
        if not isinstance(self.app, ExceptionMiddleware):
            raise RuntimeError(
                "FrontDoor has to be the last middleware in the list; what stands behind it is never called"
            )
        for sentence in fallbacks:
            log.warning("Starlette: %s", sentence)
        router = IndexedRouter.of(starlette.router, self.legacy)
        starlette.router = self.app.app = router
        if all(layer.cls in (ForwardedHeaders, FrontDoor) for layer in starlette.user_middleware):
            # Nothing else stands in front: Starlette's outer layer, for errors, would only watch this one do its work.
            starlette.middleware_stack = getattr(starlette.middleware_stack, "app", self)
        self._routing = _Routing(
            router,
            MethodFallbacks(router, self._legacy_has),
            ErrorHandlers(starlette, unexpected=True),
            handlers_of(self.app) or ({}, {}),
        )
        return self._routing


@dataclass(frozen=True, slots=True)
class _Routing:
    """What the front door has from the complete app."""

    router: IndexedRouter
    fallbacks: MethodFallbacks
    handlers: ErrorHandlers
    handler_tables: tuple[Any, Any]

    async def answer_error(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the handler that the app has for ``error``; what none expects is logged with its traceback."""
        try:
            await self.handlers.answer(error, scope, receive, send)
        except Exception as unexpected:
            if unexpected is not error:
                raise
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
