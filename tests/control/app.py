"""A small gateway with made-up traffic, for the tests of the control plane."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from graft.control.api import Api
from graft.control.logins import Logins
from graft.control.routes import control_routes
from graft.control.tokens import Role, Token, Tokens, digest_of
from graft.figures.route_figures import Latency, RouteFigures
from graft.flaskside.rules import legacy_rules
from graft.operations.file_state import FileState
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable
from graft.search.client import open_client
from graft.settings import Settings
from graft.types import Side

TOKEN = "t0ken"
BEARER = {"authorization": f"Bearer {TOKEN}"}
# The same in each process that imports this: the demo runs in one of its own.
VIEWER = ("viewers-t0ken", Token("wall", Role.VIEWER, digest_of("viewers-t0ken")))
OPERATOR = ("operators-t0ken", Token("ada", Role.OPERATOR, digest_of("operators-t0ken")))
TOKENS = Tokens(TOKEN, (VIEWER[1], OPERATOR[1]))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def cookie_value(token: str) -> str:
    """The cookie that a login with the admin token ``token`` gives."""
    tokens = Tokens(token)
    return Logins(tokens, None).begin(tokens.all[0])


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("native")


def native(path: str, *methods: str) -> NativeRoute:
    return NativeRoute(Route(path, endpoint, methods=list(methods) or ["GET"]), "async_routes.shop")


def flask_app(*rules: str) -> Flask:
    """``"GET,POST /path"`` or ``"/path"``; the endpoint is called as the path."""
    app = Flask("shop", static_folder=None)
    for rule in rules:
        methods, _, path = rule.rpartition(" ")
        app.add_url_rule(path, path, lambda **_: "legacy", methods=(methods or "GET").split(","))
    return app


def table_of(natives: Iterable[NativeRoute], *rules: str) -> RouteTable:
    return RouteTable(natives, legacy_rules(flask_app(*rules)))


def gateway(table: RouteTable, switches: Path, tokens: Tokens = TOKENS) -> Starlette:
    """The control plane alone, over a real switches.toml and a folder of its own."""

    settings = Settings.load(data=switches.parent)
    logins = Logins(tokens, settings.data / "ended-logins")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with open_client(settings) as client:
            yield {"elasticsearch": client}

    state = FileState(switches, switches.parent)
    return Starlette(
        routes=[control_routes(tokens, logins, {}, Api(settings, table, state, state.follow()))], lifespan=lifespan
    )


class Traffic:
    """Made-up figures of routes."""

    def __init__(self) -> None:
        self._routes: defaultdict[str, RouteFigures] = defaultdict(RouteFigures)

    def served(self, route: str, side: str, count: int, seconds: float = 0.02, status: str = "2xx") -> None:
        these = RouteFigures()
        these.served[Side(side)] = count
        these.statuses[Side(side)] = {status: count}
        these.latency[Side(side)] = Latency.of([seconds] * count)
        self._routes[route] += these

    def mirrored(self, route: str, **results: int) -> None:
        self._routes[route] += RouteFigures(mirrored=results)

    def read(self) -> dict[str, RouteFigures]:
        return dict(self._routes)
