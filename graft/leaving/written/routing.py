"""Starlette's router with the manners that the site had: HEAD wherever there is GET, OPTIONS answered, 405 with all
methods of the path, and a redirect to the path with a slash where that one is a route."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router, WebSocketRoute, request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.wrappers import Response as WSGIResponse

from graft.leaving.written.errors import NotRouted

Around = Callable[[ASGIApp], ASGIApp]

CONTEXT = "flask_app.context"
"""In the scope: the Flask app's context that is open behind its hooks, where there is one."""


class SiteRouter(Router):
    """``around`` stands around every answer but those of the routes in ``plain``, as "GET /path/{id:int}"."""

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        lifespan: Any = None,
        around: Around | None = None,
        plain: Collection[str] = (),
    ) -> None:
        super().__init__([_taking_flasks(route) for route in routes], redirect_slashes=False, lifespan=lifespan)
        self._around = around or (lambda app: app)
        self._plain = frozenset(plain)
        self.states: dict[int, dict[str, Any]] = {}
        """By the id of an app below, what its lifespan has for its requests."""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await super().app(scope, receive, send)
        scope.setdefault("router", self)
        if scope["type"] == "websocket":
            return await self._talk(scope, receive, send)
        route, methods = self._find(scope, scope["method"])
        if route is None and scope["method"] == "HEAD" and "GET" in methods:
            route, _ = self._find(scope, "GET")
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        if state := self.states.get(id(getattr(route, "app", None))):
            scope["state"] = {**scope.get("state", {}), **state}
        if route is None:
            await self._around(_answering(scope, methods, self))(scope, receive, send)
        elif (isinstance(route, RoutesOf) and _is_preflight(scope)) or key_of(route, scope) in self._plain:
            await route.handle(scope, receive, send)
        else:
            await self._around(route.handle)(scope, receive, send)

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, _ = self._find(scope, "GET")
        if route is None:
            return await super().app(scope, receive, send)
        scope["state"] = {**scope.get("state", {}), **self.states.get(id(getattr(route, "app", None)), {})}
        if key_of(route, scope) in self._plain:
            await route.handle(scope, receive, send)
        else:
            await self._around(route.handle)(scope, receive, send)

    def methods(self, scope: Scope, path: str) -> set[str]:
        """Those that the routes of ``path`` have."""
        return self._find({**scope, "path": path}, "\0")[1]

    def _find(self, scope: Scope, method: str) -> tuple[BaseRoute | None, set[str]]:
        """The first route that takes the request with this method, entered into the scope; else, by other routes of
        its path, their methods."""
        methods: set[str] = set()
        asked = {**scope, "method": method}
        for route in self.routes:
            match, child = route.matches(asked)
            if match is Match.FULL:
                scope.update(child)
                return route, methods
            if match is Match.PARTIAL:
                methods |= set(getattr(route, "methods", None) or child.get("methods", ()))
                if _is_preflight(scope) and isinstance(route, RoutesOf):
                    return route, methods
        return None, methods


def _taking_flasks(route: BaseRoute) -> BaseRoute:
    """``route``, whose function may give a response of Flask's, too."""
    endpoint = getattr(route, "endpoint", None)
    if type(route) is not Route or not inspect.iscoroutinefunction(endpoint) or not inspect.isfunction(route.app):
        return route  # a class, an ASGI app, or behind a middleware of its own

    async def answer(request: Request) -> Response:
        answered: Any = await endpoint(request)
        if isinstance(answered, WSGIResponse):
            copy_it = partial(copied, answered, {"REQUEST_METHOD": request.method})
            context: Any = request.scope.get(CONTEXT)  # its thread has the connections that a stream reads from
            made: Response = await (run_in_threadpool(copy_it) if context is None else context.call(copy_it))
            return made
        response: Response = answered
        return response

    taking = copy.copy(route)
    taking.app = request_response(answer)
    return taking


class RoutesOf(BaseRoute):
    """The routes of another app, such as FastAPI's, each where it stands.

    ``without`` are paths of its own pages. ``raising`` is the app for the routes ``raised``, as "GET /path".
    """

    def __init__(
        self,
        app: ASGIApp,
        without: Collection[str] = (),
        raising: ASGIApp | None = None,
        raised: Collection[str] = (),
    ) -> None:
        self.app = app
        self._raising = raising or app
        self._raised = frozenset(raised)
        self._routes = [route for route in _routes_of(app) if route.path not in without or route.include_in_schema]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        methods: set[str] = set()
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return match, {"route_in_app": route}
            if match is Match.PARTIAL:
                methods |= route.methods or set()
        return (Match.PARTIAL, {"methods": methods}) if methods else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = {name: value for name, value in scope.items() if name not in ("router", "route_in_app", "endpoint")}
        app = self._raising if key_of(self, scope) in self._raised else self.app
        await app(inner, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        return self.app.url_path_for(name, **path_params)  # type: ignore[attr-defined]


def _routes_of(app: Any) -> Iterator[Any]:
    """With the paths that the routers around them give them, which newer versions of FastAPI leave as they are."""
    flat = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", iter)
    for context in flat(list(app.routes)):
        route = getattr(context, "original_route", context)
        if isinstance(route, Route):
            made = Route(context.path, context.endpoint, include_in_schema=route.include_in_schema)
            made.methods = set(context.methods or ())
            yield made
        elif isinstance(route, WebSocketRoute):
            made_socket: Any = WebSocketRoute(context.path, context.endpoint)
            made_socket.include_in_schema = True
            yield made_socket
        elif isinstance(route, Mount):
            made_mount: Any = Mount(context.path, app=app)
            made_mount.include_in_schema = True
            yield made_mount


def key_of(route: BaseRoute, scope: Scope) -> str:
    """How the route is written in a list of routes: "GET /path/{id:int}", "ANY /reports/*", "WEBSOCKET /talk"."""
    inner = scope.get("route_in_app", route) if isinstance(route, RoutesOf) else route
    if isinstance(inner, Mount):
        return f"ANY {inner.path}/*"
    method = "WEBSOCKET" if scope["type"] == "websocket" else "GET" if scope["method"] == "HEAD" else scope["method"]
    return f"{method} {getattr(inner, 'path', '')}"


def _answering(scope: Scope, methods: set[str], router: SiteRouter) -> ASGIApp:
    """What is answered where no route takes the request."""

    async def answer(_: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if methods:
            allow = {"allow": ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))}
            if scope["method"] != "OPTIONS":
                raise NotRouted(405, headers=allow)
            return await HTMLResponse("", headers=allow)(scope, receive, send)
        if not path.endswith("/") and scope["method"] in router.methods(scope, f"{path}/") | {"OPTIONS", "HEAD"}:
            if not router.methods(scope, f"{path}/"):
                raise NotRouted(404)
            query = scope["query_string"].decode("latin-1")
            target = quote("/" + path.lstrip("/"), safe="/:@!$&'()*+,;=~") + "/" + (f"?{query}" if query else "")
            return await RedirectResponse(target, 308)(scope, receive, send)
        raise NotRouted(404)

    return answer


def copied(response: Any, environ: dict[str, Any]) -> Response:
    """A response of Flask's as a Starlette one, in order, repeated headers included; the body of a stream is read."""
    response.direct_passthrough = False
    response.automatically_set_content_length &= response.is_sequence  # of a stream, Flask tells none
    body = response.get_data()  # before the headers, which then have its length
    headers = response.get_wsgi_headers(environ)
    made = Response(status_code=response.status_code)
    made.body = b"" if environ.get("REQUEST_METHOD") == "HEAD" or response.status_code in (204, 304) else body
    made.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    response.close()
    return made


def _is_preflight(scope: Scope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
