"""Which route answers a request: found by dictionary where Starlette would try one regex after the other.

The answer is the one that ``starlette.routing.Router`` gives, the first route in the list that matches fully; only the
way to it differs. A path without parameters is looked up whole. A template is tried only where its literal beginning,
up to the slash before its first parameter, begins the path. A mount at the root, last in the list, takes what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette._utils import get_route_path, is_async_callable
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute, request_response

from graft.request_record import RequestRecord
from graft.routing.native import ANY_METHODS
from graft.types import ASGIApp, Receive, Scope, Send


class Entry:
    """One route as the front door calls it. Immutable once made.

    ``app`` answers a request that ``enter`` accepted.
    """

    __slots__ = ("_child_scope", "_labels", "_path", "app", "position", "route")

    def __init__(self, position: int, route: BaseRoute) -> None:
        self.position = position
        self.route = route
        self.app: ASGIApp = directly(route)
        self._path: str = getattr(route, "path", "") or type(route).__name__
        methods = (route.methods or ANY_METHODS) if isinstance(route, Route) else ()
        self._labels = {method: f"{method} {self._path}" for method in methods}
        if "GET" in self._labels:
            self._labels["HEAD"] = self._labels["GET"]
        self._child_scope: dict[str, Any] | None = None
        if isinstance(route, Route) and not route.param_convertors:
            self._child_scope = {"route": route, "endpoint": route.endpoint}

    def enter(self, scope: Scope) -> Match:
        """How far does the route match ``scope``? If fully, ``scope`` says so afterwards in Starlette's own keys."""
        match, child_scope = self.route.matches(scope)
        if match is Match.FULL:
            scope["route"] = self.route
            scope.update(child_scope)
        return match

    def label(self, method: str) -> str:
        """The route's name in logs and metrics, as people write it: ``GET /path/{id:int}``. HEAD counts as GET."""
        return self._labels.get(method) or f"ANY {self._path}"

    def enter_known(self, scope: Scope) -> None:
        """``enter`` for a route without parameters whose method and path were looked up already."""
        scope.update(self._child_scope or {})
        scope["path_params"] = {}


class RouteIndex:
    """Immutable once made; ``find`` is called for each request."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        entries = [Entry(position, route) for position, route in enumerate(routes)]
        self._last = entries.pop() if entries and _takes_everything(entries[-1].route) else None
        entries = [entry for entry in entries if not isinstance(entry.route, WebSocketRoute)]
        self._by_prefix: dict[str, list[Entry]] = {}
        self._anywhere: list[Entry] = []
        for entry in entries:
            self._add(entry)
        self.ends_in_slash = any(getattr(entry.route, "path", "").endswith("/") for entry in entries)
        self._static = {
            (method, entry.route.path): winner
            for entry in entries
            if isinstance(entry.route, Route) and not entry.route.param_convertors
            for method in entry.route.methods or ()
            if (winner := _first(entries, method, entry.route.path)) is entry
        }

    def find(self, scope: Scope) -> Entry | None:
        """The first route that matches ``scope`` fully, entered into it; None where none does.

        ``has_other_methods`` of the request's record is set where a route has the path, but not the method.
        """
        path = get_route_path(scope)
        known = self._static.get((scope["method"], path))
        if known is not None:
            known.enter_known(scope)
            return known
        for entry in self._candidates(path):
            match = entry.enter(scope)
            if match is Match.FULL:
                return entry
            if match is Match.PARTIAL:
                RequestRecord.of(scope).has_other_methods = True
        last = self._last
        if last is not None:
            scope.setdefault("app_root_path", scope.get("root_path", ""))
            scope.setdefault("root_path", "")
            scope["route"] = last.route
            scope["endpoint"] = last.route.app  # type: ignore[attr-defined]
            scope.setdefault("path_params", {})
        return last

    def methods(self, scope: Scope, path: str) -> set[str]:
        """The methods of the routes whose path matches ``path``; empty where none does. For rare cases, not quick."""
        found: set[str] = set()
        for entry in self._candidates(path):
            if isinstance(entry.route, Route):
                match, _ = entry.route.matches({**scope, "path": scope.get("root_path", "") + path})
                if match is not Match.NONE:
                    found |= entry.route.methods or set()
        return found

    def _add(self, entry: Entry) -> None:
        path = getattr(entry.route, "path", "")
        if not path or not isinstance(entry.route, (Route, Mount)):
            self._anywhere.append(entry)
            return
        prefix = path.partition("{")[0].rpartition("/")[0] if "{" in path else path
        self._by_prefix.setdefault(prefix, []).append(entry)

    def _candidates(self, path: str) -> list[Entry]:
        candidates = self._anywhere.copy()
        if self._by_prefix:
            get = self._by_prefix.get
            end = path.find("/")
            while end != -1:
                if found := get(path[:end]):
                    candidates += found
                end = path.find("/", end + 1)
            if found := get(path):
                candidates += found
        if len(candidates) > 1:
            candidates.sort(key=_position)
        return candidates


def directly(route: BaseRoute) -> ASGIApp:
    """The ASGI app of ``route``; where that is an async function and nothing else, it is called with nothing between.

    Starlette wraps such a function once more for exception handlers; the front door does that work for all routes at
    once, and only when something was raised.
    """
    app: ASGIApp = getattr(route, "app", route.handle)
    if getattr(app, "__code__", None) is not _PLAIN or not is_async_callable(endpoint := route.endpoint):  # type: ignore[attr-defined]
        return app

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return call


def _takes_everything(route: BaseRoute) -> bool:
    return isinstance(route, Mount) and route.path == ""


def _first(entries: Sequence[Entry], method: str, path: str) -> Entry | None:
    """The entry that the router would choose; None where that hangs on more than method and path."""
    for entry in entries:
        if not isinstance(entry.route, (Route, Mount)):
            return None
        scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        if entry.route.matches(scope)[0] is Match.FULL:
            return entry
    return None


_PLAIN = request_response(lambda request: request).__code__  # type: ignore[arg-type,return-value]
"""The code of the app that Starlette makes of a function; a route with middleware has another."""


def _position(entry: Entry) -> int:
    return entry.position
