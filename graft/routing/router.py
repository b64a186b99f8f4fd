"""Starlette's router with one thing replaced: how it looks a route up.

The answer is the one of ``starlette.routing.Router``, the first route in the list that matches fully, entered into the
scope with the same keys. A path without parameters is found in a dictionary. A template is tried only where its literal
beginning, up to the slash before its first parameter, begins the path; where many begin alike, only where all its
literal segments stand in the path (templates.py). A mount at the root, last in the list, takes
what is left. A route that decides by itself (a ``Host``, a subclass with ``matches`` of its own, a changed pattern) is
asked for each request, in its turn. Where no route matches fully, Starlette's own router goes on: it knows 405, slash
redirects and 404.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Match, Mount, Route, Router, WebSocketRoute, compile_path
from werkzeug.wrappers import Response as WSGIResponse

from graft.flaskside.responses import starlette_response
from graft.request_record import KEY, RequestRecord
from graft.routing.file_offers import offer_files
from graft.routing.native import ANY_METHODS
from graft.routing.starlette_private import is_stock, plain_endpoint, route_path, takes_part_in
from graft.routing.templates import Templates
from graft.types import ASGIApp, Receive, Scope, Send

FEW = 2
"""So many routes with one beginning are asked one after the other."""
PATHS_KEPT = 2048
LONGEST_KEPT = 128
"""Of paths that only the mount at the root takes so many are remembered, up to so many characters: they come from
strangers."""


class IndexedRouter(Router):
    """Called on the event loop. The index is made at the first request, and again when routes were added or removed."""

    index: RouteIndex
    """Of the routes as they were at the last request."""
    rest: ASGIApp | None = None
    """The app that gets every path, also those that a mount at the root does not take, such as ``/a%0Ab``."""

    @staticmethod
    def of(router: Router, rest: ASGIApp | None = None) -> IndexedRouter:
        """A router that is ``router`` but for the look-up, and has the same list of routes.

        Raises TypeError for one that looks up in a way of its own.
        """
        if not takes_part_in(router):
            raise TypeError(f"{type(router).__module__}.{type(router).__qualname__} looks its routes up by itself")
        kind = _indexed(type(router))
        made = kind.__new__(kind)
        made.__dict__.update(router.__dict__)
        made.middleware_stack = made.app
        made.rest = rest
        made.index = RouteIndex((), rest)  # a stand-in until the first request
        return made

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.find(scope)(scope, receive, send)
        else:
            await super().app(scope, receive, send)

    def find(self, scope: Scope) -> ASGIApp:
        """The app that answers an HTTP request. ``scope`` and its record say afterwards which route that is.

        ``has_other_methods`` is set in the record where a route has the path, but not the method.
        """
        scope.setdefault("router", self)
        routes, index = self.routes, self.index
        if index.routes is not routes or index.length != len(routes):
            # What people do to app.routes: add, remove, assign. To put one route in the place of another is not seen.
            index = self.index = RouteIndex(routes, self.rest)
        entry = index.find(scope)
        return super().app if entry is None else entry.app


def _indexed(kind: type[Router]) -> type[IndexedRouter]:
    """``kind`` with the look-up of IndexedRouter: a subclass of Starlette's, as FastAPI has one, keeps all else."""
    return IndexedRouter if kind is Router else type(f"Indexed{kind.__name__}", (IndexedRouter, kind), {})


class Entry:
    """One route as the router calls it: ``app`` answers a request that ``enter`` accepted. Immutable once made.

    ``labels`` has the route's name in logs and metrics by method, as people write it: ``GET /path/{id:int}``; HEAD
    counts as GET. ``other_label`` is for all other methods. A mount's own is its ``label``, if it has one.
    """

    __slots__ = ("app", "endpoint", "is_plain", "labels", "other_label", "position", "route")

    def __init__(self, position: int, route: BaseRoute) -> None:
        self.position = position
        self.route = route
        self.app: ASGIApp = directly(route) if is_stock(route, "handle") else route.handle
        self.is_plain = _is_plain(route)
        self.endpoint = getattr(route, "endpoint", None)
        path = getattr(route, "label", getattr(route, "path", ""))
        path = str(getattr(route, "host", "") + path or type(route).__name__)
        methods = (route.methods or ANY_METHODS) if isinstance(route, Route) else ()
        self.labels = {method: f"{method} {path}" for method in methods}
        if "GET" in self.labels:
            self.labels["HEAD"] = self.labels["GET"]
        self.other_label = f"ANY {path}"

    def enter(self, scope: Scope) -> Match:
        """How far does the route match ``scope``? If fully, ``scope`` says so afterwards in Starlette's own keys."""
        match, child_scope = self.route.matches(scope)
        if match is Match.FULL:
            scope["route"] = self.route
            scope.update(child_scope)
        return match

    def enter_known(self, scope: Scope) -> None:
        """``enter`` for a route without parameters whose method and path were looked up already."""
        scope["route"] = self.route
        scope["endpoint"] = self.endpoint
        params = scope.get("path_params")
        scope["path_params"] = dict(params) if params else {}

    def enter_root(self, scope: Scope) -> None:
        """``enter`` for a mount at the root."""
        scope["route"] = self.route
        scope["endpoint"] = self.app
        root_path = scope.setdefault("root_path", "")
        scope.setdefault("app_root_path", root_path)
        params = scope.get("path_params")
        scope["path_params"] = dict(params) if params else {}


class RouteIndex:
    """Of one list of routes. Immutable once made; ``find`` is called for each request, on the event loop."""

    def __init__(self, routes: Sequence[BaseRoute], rest: ASGIApp | None = None) -> None:
        self.routes = routes
        self.length = len(routes)
        entries = [Entry(position, route) for position, route in enumerate(routes)]
        self._last = entries.pop() if entries and _is_root_mount(entries[-1]) else None
        self._last_takes_all = self._last is not None and self._last.app is rest
        self._entries = [entry for entry in entries if not (entry.is_plain and isinstance(entry.route, WebSocketRoute))]
        by_prefix: dict[str, list[Entry]] = {}
        self._anywhere: list[Entry] = []
        for entry in self._entries:
            prefix = _literal_prefix(entry)
            if prefix is None:
                self._anywhere.append(entry)
            else:
                by_prefix.setdefault(prefix, []).append(entry)
        self._by_prefix: dict[str, list[Entry] | Templates[Entry]] = {
            prefix: each if len(each) <= FEW else Templates((_template(entry), entry) for entry in each)
            for prefix, each in by_prefix.items()
        }
        self._left_over: set[str] = set()  # paths that no route but the mount at the root may match
        self.ends_in_slash = any(getattr(entry.route, "path", "").endswith("/") for entry in entries)
        self._static = {
            (method, entry.route.path): entry
            for entry in self._entries
            if entry.is_plain and isinstance(entry.route, Route) and not entry.route.param_convertors
            for method in entry.route.methods or ()
            if self._first(method, entry.route.path) is entry
        }

    def find(self, scope: Scope) -> Entry | None:
        """The first route that matches ``scope`` fully, entered into it; None where none does."""
        path, method = route_path(scope) if scope.get("root_path") else scope["path"], scope["method"]
        record = scope.get(KEY) or RequestRecord.of(scope)
        found = self._static.get((method, path))
        if found is not None:
            found.enter_known(scope)
        elif path in self._left_over:
            found = self._last
            found.enter_root(scope)  # type: ignore[union-attr]
        else:
            candidates = self._candidates(path)
            for entry in candidates:
                match = entry.enter(scope)
                if match is Match.FULL:
                    found = entry
                    break
                if match is Match.PARTIAL:
                    record.has_other_methods = True
            else:
                # The mount at the root takes every path that begins with a slash and has no line break.
                if self._last is not None and (self._last_takes_all or (path[:1] == "/" and "\n" not in path)):
                    found = self._last
                    found.enter_root(scope)
                    if not candidates and len(path) < LONGEST_KEPT:
                        if len(self._left_over) >= PATHS_KEPT:
                            self._left_over.clear()
                        self._left_over.add(path)
        if found is not None:
            record.route = found.labels.get(method) or found.other_label
        return found

    def methods(self, scope: Scope, path: str) -> set[str]:
        """The methods of the routes whose path matches ``path``; empty where none does. For rare cases, not quick."""
        found: set[str] = set()
        for entry in self._candidates(path):
            if isinstance(entry.route, Route):
                match, _ = entry.route.matches({**scope, "path": scope.get("root_path", "") + path})
                if match is not Match.NONE:
                    found |= entry.route.methods or set()
        return found

    def route_of(self, scope: Scope, path: str, method: str) -> BaseRoute | None:
        """The route that would take ``path`` with another method than the scope's. For rare cases, not quick."""
        asked = {**scope, "path": scope.get("root_path", "") + path, "method": method}
        routes = (entry.route for entry in self._candidates(path))
        return next((route for route in routes if route.matches(asked)[0] is Match.FULL), None)

    def _candidates(self, path: str) -> list[Entry]:
        """The routes that may match ``path``, in their order."""
        if "\n" in path:  # "$" at the end of a pattern matches before a last line break as well
            return self._entries
        candidates = self._anywhere.copy()
        if self._by_prefix:
            get = self._by_prefix.get
            end = path.find("/")
            while end != -1:
                if found := get(path[:end]):
                    candidates += found if found.__class__ is list else found.of(path)  # type: ignore[union-attr]
                end = path.find("/", end + 1)
            if found := get(path):
                candidates += found if found.__class__ is list else found.of(path)  # type: ignore[union-attr]
        if len(candidates) > 1:
            candidates.sort(key=_position)
        return candidates

    def _first(self, method: str, path: str) -> Entry | None:
        """The entry that the router would choose; None where that hangs on more than method and path."""
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        for entry in self._candidates(path):
            if not entry.is_plain:
                return None
            if entry.route.matches(scope)[0] is Match.FULL:
                return entry
        return None


def directly(route: BaseRoute) -> ASGIApp:
    """The ASGI app of ``route``; where that is an async function and nothing else, it is called with nothing between.

    Starlette wraps such a function once more for exception handlers; the front door does that work for all routes at
    once, and only when something was raised.
    """
    app: ASGIApp = getattr(route, "app", route.handle)
    endpoint = plain_endpoint(route) if isinstance(route, Route) else None
    if endpoint is None:
        return app

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        if response.__class__ in _NOT_ASGI or isinstance(response, WSGIResponse):
            response = starlette_response(response, scope)
        elif response.__class__ is FileResponse:
            offer_files(scope)
        await response(scope, receive, send)

    return call


_OF_ONE_SEGMENT = frozenset({StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor})
_NOT_ASGI = frozenset({str, bytes, dict, list, tuple, int, type(None)})
"""What a view of Flask's may return, or a forgotten ``return`` gives."""


def _is_plain(route: BaseRoute) -> bool:
    """Whether method and path alone decide about ``route``, and its path is the one that it was made with."""
    if not isinstance(route, (Route, Mount, WebSocketRoute)) or not is_stock(route, "matches"):
        return False
    path = f"{route.path}/{{path:path}}" if isinstance(route, Mount) else route.path
    return compile_path(path)[0] == route.path_regex  # people make patterns ignore case, or add a prefix


def _literal_prefix(entry: Entry) -> str | None:
    """What a path begins with, up to a slash or its end, for the route to be asked; None: it is asked in any case.

    A subclass with ``matches`` of its own may say ``only_below_path = True``.
    """
    path: str = getattr(entry.route, "path", "")
    if not path or not (entry.is_plain or getattr(entry.route, "only_below_path", False)):
        return None
    return path.partition("{")[0].rpartition("/")[0] if "{" in path else path


def _template(entry: Entry) -> str | None:
    """The path of a route that matches as many segments as it has itself; None for all others."""
    route = entry.route
    if not entry.is_plain or not isinstance(route, Route):
        return None
    whole = all(type(convertor) in _OF_ONE_SEGMENT for convertor in route.param_convertors.values())
    return route.path if whole else None


def _is_root_mount(entry: Entry) -> bool:
    return (
        entry.is_plain and isinstance(entry.route, Mount) and entry.route.path == "" and is_stock(entry.route, "handle")
    )


def _position(entry: Entry) -> int:
    return entry.position
