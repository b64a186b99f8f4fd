"""The route table: every native route and every rule of the legacy app, and which of them twin each other."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from flask import Flask
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from graft.flaskside.hosts import HostRules
from graft.flaskside.rules import LegacyRule, Overlap, Twin, Twins
from graft.frameworks import HostedApp
from graft.routing import starlette_private
from graft.routing.file_offers import with_files
from graft.routing.hosts import HostMatching, names_only
from graft.routing.native import NativeRoute
from graft.routing.router import directly
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send


@dataclass(frozen=True, slots=True)
class Row:
    """One route: on the native side, on the legacy side, or on both (then it is a switched route).

    ``key`` is the native route's where there is one. ``overlap`` is None where only one side has the route.
    """

    key: RouteKey
    native: NativeRoute | None
    legacy: LegacyRule | None
    overlap: Overlap | None

    @property
    def switched(self) -> bool:
        return self.native is not None and self.legacy is not None


class RouteTable:
    """Immutable. ``rows`` are the native routes in their order, then the rules that only the legacy app has.

    Raises SettingError where the installed Starlette is none that Graft knows.
    """

    def __init__(self, natives: Iterable[NativeRoute], rules: Iterable[LegacyRule]) -> None:
        starlette_private.require()
        self.natives = tuple(natives)
        rules = tuple(rules)
        self._host_rules = HostRules.of(rules)
        keys = [(native, key) for native in self.natives for key in native.keys]
        twins = Twins(rules)
        on_host = {id(twin.rule) for _, key in keys if key.host and (twin := twins.of(key))}
        # What a native route has on a host of its own is no twin of one without: two switches would send it two ways.
        others = Twins(rule for rule in rules if not (rule.host and id(rule) in on_host))
        of_native = [self._row(native, key, (twins if key.host else others).of(key)) for native, key in keys]
        twinned = {id(row.legacy) for row in of_native if row.legacy is not None}
        alone = (Row(rule.key, None, rule, None) for rule in rules if id(rule) not in twinned)
        self.rows: tuple[Row, ...] = (*of_native, *alone)
        self._by_key = {row.key: row for row in reversed(self.rows)}

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def get(self, key: RouteKey) -> Row | None:
        return self._by_key.get(key)

    @asynccontextmanager
    async def running(self, flask_app: Flask | None = None) -> AsyncIterator[None]:
        """For the lifespan: those of the apps that answer native routes, each once, in the order of their routes.

        Apps of a framework that is Flask's like share what ``flask_app`` has: its session, templates, URLs.

        Raises NativeRoutesError when one fails at its start.
        """
        async with AsyncExitStack() as running:
            for hosted in self._hosted():
                if flask_app is not None:
                    hosted.beside(flask_app)
                await running.enter_async_context(hosted.running())
            yield

    def _hosted(self) -> Iterable[HostedApp]:
        apps = (getattr(native.route, "app", None) for native in self.natives)
        return dict.fromkeys(app for app in apps if isinstance(app, HostedApp))

    def routes(
        self, app_of: Callable[[Row, ASGIApp], ASGIApp], around: Callable[[ASGIApp], ASGIApp]
    ) -> list[BaseRoute]:
        """The native routes for Starlette's list; those of the modules are left as they are.

        ``app_of(row, native)`` makes what answers one method of a path, ``around(native)`` what stands around a route
        without methods: a WebSocket, a mount, a ``Host`` around an app, a kind of route that is not Starlette's.
        """
        hosts = {id(native.within): native.within for native in self.natives if native.within is not None}
        routes = [
            self._on_hosts(native, self._route(native.route, native.keys, app_of, around)) for native in self.natives
        ]
        return [*routes, *map(names_only, hosts.values())]

    def _on_hosts(self, native: NativeRoute, route: BaseRoute) -> BaseRoute:
        """``route`` on the host that it was written for, and where a Flask app that knows hosts leaves it requests."""
        if native.within is None and self._host_rules is None:
            return route
        held = copy.copy(route)
        rows = [self._by_key[key] for key in native.keys]
        twins = {row.key.method: row.legacy.rule if row.legacy is not None else None for row in rows}
        vars(held)["matches"] = HostMatching(held, native.within, self._host_rules, twins)
        if native.host:
            vars(held)["host"] = native.host  # for the route's name in logs and figures
        return held

    def _route(
        self,
        original: BaseRoute,
        keys: Iterable[RouteKey],
        app_of: Callable[[Row, ASGIApp], ASGIApp],
        around: Callable[[ASGIApp], ASGIApp],
    ) -> BaseRoute:
        if not isinstance(original, (Route, WebSocketRoute, Mount)):
            other = copy.copy(original)
            vars(other)["handle"] = around(original.handle)
            return other
        route = copy.copy(original)
        app = directly(original)
        if type(app) is StaticFiles:
            app = with_files(app)
        elif app is original.app:
            app = _with_listed_headers(app)
        by_method = {key.method: app_of(self._by_key[key], app) for key in keys}
        if "GET" in by_method:
            by_method["HEAD"] = by_method["GET"]
        if not by_method:
            route.app = around(app)
        elif len(set(map(id, by_method.values()))) == 1:
            route.app = by_method.popitem()[1]
        else:
            route.app = _ByMethod(around(app), by_method)
        return route

    @staticmethod
    def _row(native: NativeRoute, key: RouteKey, twin: Twin | None) -> Row:
        return Row(key, native, twin.rule, twin.overlap) if twin else Row(key, native, None, None)


def _with_listed_headers(app: ASGIApp) -> ASGIApp:
    """``app`` with the headers of its responses in lists: ASGI allows iterators, and more than one layer looks at them.

    Starlette's own responses have lists.
    """

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        def send_listed(message: Message) -> Awaitable[None]:
            headers = message.get("headers")
            if headers is not None and not isinstance(headers, (list, tuple)):
                message = {**message, "headers": list(headers)}
            return send(message)

        return app(scope, receive, send_listed)

    return call


class _ByMethod:
    """One route whose methods have a switch each, or of which only some are switched; ``rest`` takes any other."""

    def __init__(self, rest: ASGIApp, by_method: dict[str, ASGIApp]) -> None:
        self._rest = rest
        self._by_method = by_method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._by_method.get(scope["method"], self._rest)(scope, receive, send)
