"""An app of a framework's, hosted: it answers the native routes that are its, and has its own lifespan.

The app sees what it would see under a server of its own: a scope without the keys of the router that found the route,
with all that Graft has put there for native routes (``session``, ``state``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from flask import Flask
from starlette.routing import BaseRoute, NoMatchFound, Route, WebSocketRoute

from graft.frameworks.lifespan import running
from graft.types import ASGIApp, Receive, Scope, Send


class HostedApp:
    """``app`` is the module's; ``router`` knows its routes' names, where it has names. (event loop)"""

    raises_errors = False
    """Whether it raises what it would answer to an error, where the request's record asks for it."""

    def __init__(self, app: ASGIApp, name: str, router: Any = None) -> None:
        self.app = app
        self.name = name
        self.chosen_key: str | None = None
        """Where in the scope the app wants to be told which of its own routes was found; None: it looks by itself."""
        self.lists_headers = False
        """Whether the headers of its responses are lists, as those of Starlette's are."""
        self._router = router
        self._state: dict[str, Any] = {}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        inner = dict(scope)
        for key in _OF_THE_ROUTER:
            inner.pop(key, None)
        if (root_path := inner.pop("app_root_path", None)) is not None:  # found through a mount: the path starts anew
            inner["root_path"] = root_path
        if self._router is not None:
            inner["router"] = _Names(self._router, scope.get("router"))
        if self.chosen_key is not None:
            entered = {"endpoint": scope.get("endpoint"), "path_params": scope.get("path_params")}
            inner[self.chosen_key] = getattr(scope.get("route"), "own", None), entered
        if self._state:
            inner["state"] = {**scope.get("state", {}), **self._state}
        return self.app(inner, receive, send)

    @property
    def state(self) -> Mapping[str, Any]:
        """What the app's lifespan has for its requests; empty while it does not run."""
        return self._state

    def beside(self, flask_app: Flask) -> None:
        """Called once, before ``running``, where the legacy app is one of Flask's."""

    def openapi(self) -> dict[str, Any]:
        """What the framework says of its operations, as an OpenAPI document; empty where it says nothing."""
        return {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the lifespan of the gateway: the app's own lifespan. Raises LifespanError when its start fails."""
        async with running(self.app, self.name) as self._state:
            yield


class HostedRoute(Route):
    """One route of ``hosted``: it matches as Starlette's, and has exactly the methods that it had in the app.

    ``own`` is the one in the app's list of routes that it is, or is in. The route table sets ``asked`` and ``sides``.
    """

    asked: ASGIApp | None = None
    """The whole app with what every native route has around it: for a preflight, which no route of it takes."""
    sides: Mapping[str, ASGIApp] = {}
    """By method, what chooses the side."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        hosted: HostedApp,
        methods: Iterable[str] | None,
        name: str | None,
        include_in_schema: bool = True,
        own: BaseRoute | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=None, name=name, include_in_schema=include_in_schema)
        self.methods = set(methods) if methods is not None else None
        self.app = hosted
        self.own = own


class HostedWebSocketRoute(WebSocketRoute):
    """One WebSocket route of ``hosted``. ``own`` as in a HostedRoute."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        hosted: HostedApp,
        name: str | None,
        own: BaseRoute | None = None,
    ) -> None:
        super().__init__(path, endpoint, name=name)
        self.app = hosted
        self.own = own


class _Names:
    """For ``request.url_for``: the names of the app's own routes before those of all native routes."""

    def __init__(self, own: Any, others: Any) -> None:
        self._own = own
        self._others = others

    def url_path_for(self, name: str, /, **params: Any) -> Any:
        try:
            return self._own.url_path_for(name, **params)
        except NoMatchFound:
            if self._others is None:
                raise
            return self._others.url_path_for(name, **params)


_OF_THE_ROUTER = ("router", "route", "endpoint", "path_params")
