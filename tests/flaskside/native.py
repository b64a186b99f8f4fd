"""Native routes beside a Flask app, wired as the gateway wires them, for the tests of one piece at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from graft.bridge.mount import LegacyMount
from graft.bridge.native_bodies import NativeBodies
from graft.flaskside import hooks, sessions
from graft.flaskside.error_pages import ErrorPages
from graft.flaskside.legacy import Legacy
from graft.flaskside.rules import Twins, legacy_rules
from graft.routing.frontdoor import FrontDoor
from graft.routing.router import directly
from graft.threads.executor import LegacyExecutor
from graft.types import ASGIApp, Receive, RouteKey, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class World:
    """A Flask app with native routes in front: ``world.native("/path")(endpoint)``, then ``world.client()``."""

    def __init__(
        self,
        app: Flask,
        *,
        prefix: str = "",
        threads: int = 4,
        queue: int = 64,
        timeout: float | None = None,
        **limits: Any,
    ) -> None:
        self.app = app
        self.prefix = prefix
        self.mount = LegacyMount(app, threads, queue=queue, timeout=timeout, **limits)
        self.pool = self.mount.pool
        self.threads = LegacyExecutor(self.pool, timeout)
        self.legacy = Legacy(app, self.threads, prefix)
        self.routes: list[BaseRoute] = []

    def native(
        self, path: str, methods: tuple[str, ...] = ("GET",), *, hooked: bool = True
    ) -> Callable[[Endpoint], Endpoint]:
        def add(endpoint: Endpoint) -> Endpoint:
            route = Route(path, endpoint, methods=list(methods))
            route.app = self.wrapped(directly(route), RouteKey(methods[0], path.removeprefix(self.prefix)), hooked)
            self.routes.append(route)
            return endpoint

        return add

    def wrapped(self, native: ASGIApp, key: RouteKey, hooked: bool = True) -> ASGIApp:
        twin = Twins(legacy_rules(self.app)).of(key)
        native = sessions.wrap(native, self.app, self.threads, self.prefix)
        rule = twin.rule.rule if twin else None
        native = hooks.wrap(
            native, self.app, self.threads, rules=[rule] if rule is not None else [], enabled=hooked, prefix=self.prefix
        )
        return NativeBodies(native, self.mount.limits)

    def asgi(self, middleware: list[Middleware] | None = None) -> Starlette:
        errors = ErrorPages(self.app, self.threads, self.prefix)
        return Starlette(
            routes=[*self.routes, Mount(self.prefix or "/", self.mount)],
            middleware=[
                *(middleware or []),
                Middleware(_WithState, legacy=self.legacy),
                Middleware(FrontDoor, legacy=self.mount),
            ],
            exception_handlers=errors.handlers(),
        )

    def client(self, **settings: Any) -> httpx.AsyncClient:
        settings = {"base_url": "http://testserver", **settings}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.asgi()), **settings)


class _WithState:
    def __init__(self, app: ASGIApp, legacy: Legacy) -> None:
        self.app = app
        self.legacy = legacy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["legacy"] = self.legacy
        await self.app(scope, receive, send)
