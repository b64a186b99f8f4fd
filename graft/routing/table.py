"""The route table: every native route and every rule of the legacy app, and which of them twin each other."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from flask import Flask
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from graft.flaskside.hosts import HostRules
from graft.flaskside.rules import LegacyRule, Overlap, Twin, Twins, asked
from graft.frameworks import HostedApp
from graft.frameworks.hosted_app import HostedRoute
from graft.frameworks.mounted_app import MountedApp
from graft.routing import starlette_private
from graft.routing.choosing import Choosing
from graft.routing.hosts import HostMatching, names_only
from graft.routing.native import NativeRoute
from graft.routing.router import directly
from graft.routing.subtrees import rules_beneath, subtree_route
from graft.types import ANY, ASGIApp, Message, Receive, RouteKey, Scope, Send


@dataclass(frozen=True, slots=True)
class Row:
    """One route: on the native side, on the legacy side, or on both (then it is a switched route).

    ``key`` is the native route's where there is one. ``overlap`` is None where only one side has the route. A mount is
    one route, with all the rules ``beneath`` it that no native route in front of it has.
    """

    key: RouteKey
    native: NativeRoute | None
    legacy: LegacyRule | None
    overlap: Overlap | None
    beneath: tuple[LegacyRule, ...] = ()

    @property
    def rules(self) -> tuple[LegacyRule, ...]:
        """The rules of the Flask app that this row stands for."""
        return (self.legacy,) if self.legacy is not None else self.beneath

    @property
    def switched(self) -> bool:
        return self.native is not None and bool(self.rules)


class RouteTable:
    """Immutable. ``rows`` are the native routes in their order, then the rules that only the legacy app has.

    Raises SettingError where the installed Starlette is none that Graft knows.
    """

    def __init__(self, natives: Iterable[NativeRoute], rules: Iterable[LegacyRule]) -> None:
        starlette_private.require()
        self.natives = tuple(natives)
        rules = tuple(asked(rules))
        self._host_rules = HostRules.of(rules)
        keys = [(native, key) for native in self.natives for key in native.keys]
        twins = Twins(rules)
        on_host = {id(twin.rule) for _, key in keys if key.host and (twin := twins.of(key))}
        # What a native route has on a host of its own is no twin of one without: two switches would send it two ways.
        others = Twins(rule for rule in rules if not (rule.host and id(rule) in on_host))
        of_native: list[Row] = []
        taken: set[int] = set()
        for native, key in keys:
            if key.method == ANY:
                beneath = rules_beneath(key, (rule for rule in rules if id(rule) not in taken))
                row = Row(key, native, None, None, beneath)
            else:
                row = self._row(native, key, (twins if key.host else others).of(key))
            of_native.append(row)
            taken.update(map(id, row.rules))
        alone = (Row(rule.key, None, rule, None) for rule in rules if id(rule) not in taken)
        self.rows: tuple[Row, ...] = (*of_native, *alone)
        self._by_key = {row.key: row for row in reversed(self.rows)}
        self._lifespans: dict[int, HostedApp] = {}
        for native in self.natives:
            if isinstance(native.route, Mount):
                self._lifespans.setdefault(id(native.route.app), HostedApp(native.route.app, native.name))

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
        apps = [getattr(native.route, "app", None) for native in self.natives]
        hosted = [app if isinstance(app, HostedApp) else self._lifespans.get(id(app)) for app in apps]
        return dict.fromkeys(app for app in hosted if app is not None)

    def routes(
        self, app_of: Callable[[Row, ASGIApp], ASGIApp], around: Callable[[ASGIApp], ASGIApp]
    ) -> list[BaseRoute]:
        """The native routes for Starlette's list; those of the modules are left as they are.

        ``app_of(row, native)`` makes what answers one method of a path, or all below a mount; ``around(native)`` what
        stands around any other route: a ``Host`` around an app, a kind of route that is not Starlette's.
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
        twins = {row.key.method: [rule.rule for rule in row.rules] for row in rows if row.key.method != ANY}
        beneath = [rule.rule for row in rows for rule in row.beneath]
        vars(held)["matches"] = HostMatching(held, native.within, self._host_rules, twins, beneath)
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
        if isinstance(original, Mount):
            (key,) = keys
            mounted = MountedApp(original, self._lifespans[id(original.app)])
            return subtree_route(original, app_of(self._by_key[key], _with_listed_headers(mounted)), key)
        if not isinstance(original, (Route, WebSocketRoute)):
            other = copy.copy(original)
            vars(other)["handle"] = around(original.handle)
            return other
        route = copy.copy(original)
        app = directly(original)
        if app is original.app and not (isinstance(app, HostedApp) and app.lists_headers):
            app = _with_listed_headers(app)
        by_method = {key.method: app_of(self._by_key[key], app) for key in keys}
        if "GET" in by_method:
            by_method["HEAD"] = by_method["GET"]
        if isinstance(route, HostedRoute):
            route.asked, route.sides = around(app), by_method
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


class _ByMethod(Choosing):
    """One route whose methods have a switch each, or of which only some are switched; ``rest`` takes any other."""

    def __init__(self, rest: ASGIApp, by_method: dict[str, ASGIApp]) -> None:
        self._rest = rest
        self.by_method = by_method

    def choose(self, scope: Scope) -> ASGIApp:
        app = self.by_method.get(scope["method"], self._rest)
        return app.choose(scope) if isinstance(app, Choosing) else app
