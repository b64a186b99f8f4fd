"""The express way to the front door: what stands in front of it is applied to the scope, and not called. (loop)

It is open where nothing stands there but what Graft knows: the middleware of its own, and Uvicorn's for the headers of
proxies. Then a request needs no frame for each of them. One that only the legacy app can answer may not even need a
task (bridge/express.py); for any other, the front door is called at once.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from graft.bridge.express import Express
from graft.bridge.mount import LegacyMount
from graft.connection.forwarded import Apply, ForwardedHeaders
from graft.observe.access import AccessRecord
from graft.routing.frontdoor import FrontDoor
from graft.routing.starlette_private import HANDLERS_KEY
from graft.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from graft.connection.cycle import Cycle


def express_way(app: ASGIApp, servers: Apply | None = None) -> ExpressWay | str | None:
    """The express way to ``app``, or why it is closed; None while that is not known. ``servers`` is what the server
    does to a scope with headers of proxies before it calls ``app``.
    """
    reason = closed_by(app)
    if reason is not None:
        return reason
    assert isinstance(app, Starlette)
    forwarded = app.middleware_stack
    if forwarded is None:  # it has had no scope yet
        return None
    front_door = getattr(forwarded, "app", None)
    if type(forwarded) is not ForwardedHeaders or type(front_door) is not FrontDoor:
        return "what Starlette has built of its middleware is not known"
    return ExpressWay(app, forwarded, front_door, servers) if front_door.handler_tables is not None else None


def closed_by(app: Any) -> str | None:
    """Why requests to ``app`` can't take the express way, in a few words; None if they can."""
    if type(app) is not Starlette:
        return f"{_name(app)} stands in front of the app"
    for layer in app.user_middleware:
        kind: Any = layer.cls
        if kind not in (ForwardedHeaders, FrontDoor):
            return f"{_name(kind)} stands in front of the app"
    if len(app.user_middleware) != 2:
        return "the app has not the middleware of gateway.py"
    for kind, names in _KNOWN.items():
        if not is_untouched(kind, *names):
            return f"another library has put a function of its own into {kind.__name__}"
    return None


def is_untouched(kind: type, *names: str) -> bool:
    """Whether these methods are the ones in the class's own file: tracing libraries put theirs in their place."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return all(
        type(function) is FunctionType and function.__code__.co_filename == file
        for function in (getattr(kind, name, None) for name in names)
    )


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", None) or type(thing).__name__


_KNOWN: dict[type, tuple[str, ...]] = {
    Starlette: ("__call__", "build_middleware_stack"),
    ForwardedHeaders: ("__call__",),
    FrontDoor: ("__call__", "answer"),
    LegacyMount: ("__call__",),
}


class ExpressWay:
    """To one app. Immutable."""

    def __init__(
        self, app: Starlette, forwarded: ForwardedHeaders, front_door: FrontDoor, servers: Apply | None
    ) -> None:
        self._app = app
        self._forwarded = forwarded
        self._servers = servers
        self._front_door = front_door
        self._legacy = front_door.legacy
        self._express: Express | None = None
        if type(self._legacy) is LegacyMount:
            self._express = Express(self._legacy, self._follow, front_door.user_of)

    def begin(self, cycle: Cycle) -> bool:
        """Have the request answered. False where the app has to be called with it, as if this had not been asked."""
        has_x, forwarded = cycle.has_x, self._forwarded
        scope = forwarded.admit(cycle.scope, self._servers) if has_x or not forwarded.admits_all else cycle.scope
        if scope is None:
            return False
        scope["app"] = self._app
        front_door = self._front_door
        access = AccessRecord(scope, cycle.send, has_x, cycle)
        scope[HANDLERS_KEY] = front_door.handler_tables
        app = front_door.find(scope, access.request)
        express = self._express
        if express is None or app is not self._legacy or not express.begin(cycle, access):
            self._follow(cycle, access, app)
        return True

    def _follow(self, cycle: Cycle, access: AccessRecord, app: ASGIApp | None) -> None:
        """Answer in a task, by ``app`` or what the front door finds."""
        context = cycle.context()
        context.run(access.enter)
        front_door = self._front_door

        def answer(_: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            return front_door.answer(access, app, access.scope, receive)

        cycle.run(answer, context)
