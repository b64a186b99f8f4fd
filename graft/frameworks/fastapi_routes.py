"""FastAPI: the path operations that native modules export as ``app``, ``router`` or among their ``routes``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from fastapi import APIRouter, FastAPI, routing
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from graft.frameworks import is_a_frameworks
from graft.frameworks.fastapi_errors import raising_errors
from graft.frameworks.fastapi_router import CHOSEN, shorten
from graft.frameworks.hosted_app import HostedApp, HostedRoute, HostedWebSocketRoute

log = logging.getLogger("graft")


def of(modules: Sequence[ModuleType]) -> Iterator[tuple[str, list[BaseRoute]]]:
    """By module, the routes of its app, of its router unless that is part of an app, and of FastAPI's in ``routes``."""
    apps: dict[int, tuple[str, FastAPI]] = {}
    for module in modules:
        if isinstance(app := getattr(module, "app", None), FastAPI):
            apps.setdefault(id(app), (module.__name__, app))
    taken = {original for _, app in apps.values() for original in _originals(app.routes)}
    for module in modules:
        router = getattr(module, "router", None)
        if isinstance(router, APIRouter) and not taken.issuperset(_originals(router.routes)):
            taken.update(_originals(router.routes))
            apps[id(router)] = (module.__name__, _app_of(router))
        if loose := [
            route for route in _listed(module) if is_a_frameworks(route) and taken.isdisjoint(_originals([route]))
        ]:
            taken.update(_originals(loose))
            apps[id(module)] = (module.__name__, _app_of(APIRouter(routes=loose)))
    for name, app in apps.values():
        yield name, list(_routes(app, HostedFastAPI(app, name)))


class HostedFastAPI(HostedApp):
    raises_errors = True

    def __init__(self, app: FastAPI, name: str) -> None:
        super().__init__(raising_errors(app), name, app.router)
        self._fastapi = app
        self.lists_headers = not app.user_middleware

    def openapi(self) -> dict[str, Any]:
        return self._fastapi.openapi()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        if shorten(self._fastapi):
            self.chosen_key = CHOSEN
        async with super().running():
            yield


def _listed(module: ModuleType) -> Sequence[BaseRoute]:
    routes = getattr(module, "routes", ())
    return routes if isinstance(routes, (list, tuple)) else ()


def _app_of(router: APIRouter) -> FastAPI:
    """An app that has included ``router``, with its routes in the app's own list, where they are found at once."""
    app = FastAPI(openapi_url=None)
    app.include_router(router)
    if not getattr(router, "form_limits", None):
        app.router.routes[:] = router.routes
    return app


def _contexts(routes: Iterable[BaseRoute]) -> Iterator[Any]:
    """Each route with the path, methods and name that the routers around it give it; ``original_route`` is itself."""
    contexts = getattr(routing, "iter_route_contexts", None)
    if contexts is not None:  # an app keeps the routers that it includes as they are
        yield from contexts(list(routes))
    else:  # older ones, from 0.133 on, copy their routes
        yield from routes


def _with_their_place(routes: Iterable[BaseRoute]) -> Iterator[tuple[Any, BaseRoute]]:
    """The contexts of ``routes``, each with the one of ``routes`` that it is, or is in."""
    for route in routes:
        for context in _contexts([route]):
            yield context, route


def _originals(routes: Iterable[BaseRoute]) -> Iterator[int]:
    """What tells the routes apart, also where an app has copies of its routers' routes: the same functions."""
    for context in _contexts(routes):
        original = getattr(context, "original_route", None)
        yield id(original if original is not None else getattr(context, "endpoint", context))


def _routes(app: FastAPI, hosted: HostedApp) -> Iterator[BaseRoute]:
    for context, own in _with_their_place(app.routes):
        route = getattr(context, "original_route", context)
        path = context.path
        if isinstance(route, Route):
            if path in _PAGES and not route.include_in_schema:
                continue  # every app has these: the gateway has one description of all its operations
            yield HostedRoute(
                path, context.endpoint, hosted, context.methods, context.name, context.include_in_schema, own
            )
        elif isinstance(route, WebSocketRoute):
            yield HostedWebSocketRoute(path, context.endpoint, hosted, context.name, own)
        elif isinstance(route, Mount):
            yield Mount(path, app=hosted, name=context.name)  # the app finds its own again by the whole path
        else:
            log.warning("%s: a %s is no native route and is left out", hosted.name, type(route).__name__)


_PAGES = frozenset({"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"})
"""Where an app has its description unless it says another address; there it is a native route like any other."""
