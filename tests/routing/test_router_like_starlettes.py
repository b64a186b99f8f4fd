"""Random route tables and requests: an app behind the front door answers as the same app without it.

The answer of a route is what a route can know: which one it is, its parameters, and every URL that it can ask for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Host, Match, Mount, NoMatchFound, Route, Router, WebSocketRoute

from graft.routing.frontdoor import FrontDoor
from graft.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("one", "two", "three")
CALLS = [f"{before}{name}" for before in ("", "m:", "m:m:", "h:", "h:m:") for name in NAMES]


class Versioned(Route):
    """A route that hangs on a header as well."""

    version = b"2"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is not Match.NONE and (b"x-version", self.version) not in scope["headers"]:
            return Match.NONE, {}
        return match, {**child, "version": "2"} if match is Match.FULL else child


class Marked:
    """Middleware of a mount: it sees what the routes below answer, errors as well."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marking(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-marked", b"yes")]}
            await send(message)

        await self.app(scope, receive, marking)


class Teapot(Route):
    """A route that answers by itself."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["handled"] = True
        await super().handle(scope, receive, send)


def urls(request: Request) -> Iterator[tuple[str, str]]:
    for name, params in itertools.product(CALLS, ({}, {"x": 7}, {"x": 7, "y": "b"}, {"tenant": "t"}, {"path": "/p"})):
        with suppress(NoMatchFound, AssertionError, ValueError):
            yield f"{name} {params}", str(request.url_for(name, **params))


def what_is_known(scope: Scope, number: int) -> dict[str, Any]:
    known = {key: scope.get(key) for key in ("path_params", "root_path", "app_root_path", "path", "version", "handled")}
    router, route = scope["router"], scope["route"]
    return {
        "number": number,
        **known,
        "path_params": {key: str(value) for key, value in known["path_params"].items()},
        "kinds": {key: type(value).__name__ for key, value in known["path_params"].items()},
        "route": repr(route)[:200] if isinstance(route, Route) else type(route).__name__,
        "routes of the router": [id(route) for route in router.routes],
        "endpoint": id(scope["endpoint"]),
        "app": type(scope["app"]).__name__,
        "urls": dict(urls(Request(scope))),
    }


def endpoint(number: int, kind: str) -> Any:
    if kind == "class":

        class Page(HTTPEndpoint):
            async def get(self, request: Request) -> JSONResponse:
                return JSONResponse(what_is_known(request.scope, number))

        return Page

    async def answer(request: Request) -> JSONResponse:
        if number % 7 == 0:
            raise HTTPException(418, str(number))
        return JSONResponse(what_is_known(request.scope, number))

    return answer


def a_path(chance: random.Random, names: tuple[str, ...] = ("x", "y", "z"), least: int = 0) -> str:
    if not least and chance.random() < 0.4:
        return chance.choice(["/a", "/a", "/b", "/a/b"])
    segments = []
    for name in names[: chance.randint(least, len(names))]:
        converter = chance.choice(["", "", ":str", ":int", ":float", ":path"])
        segments.append(chance.choice(["a", "a", "b", "ab", f"a-{{{name}}}", f"{{{name}{converter}}}"]))
    return "/" + "/".join(segments) + chance.choice(["", "", "/"])


def a_route(chance: random.Random) -> Route:
    answers = endpoint(chance.randrange(10**6), kind := chance.choice(["function", "function", "class"]))
    methods = None if kind == "class" else chance.choice([None, ["GET"], ["POST"], ["GET", "POST"], ["DELETE"]])
    made = chance.choice([Route, Route, Route, Versioned, Teapot])
    route: Route = made(a_path(chance), answers, methods=methods, name=chance.choice(NAMES))
    change = chance.choice(["none"] * 4 + ["any case", "own matches"])
    if change == "any case":
        route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    elif change == "own matches":
        matches = route.matches
        route.matches = lambda scope: matches({**scope, "path": scope["path"].replace("zz", "a")})  # type: ignore[method-assign]
    return route


def a_mount(chance: random.Random, depth: int) -> BaseRoute:
    path = chance.choice(["", a_path(chance, ("tenant",), least=1).rstrip("/"), "/a", "/a/b"])
    routes, name = a_table(chance, depth - 1), chance.choice([None, "m"])
    middleware = chance.choice([[], [Middleware(Marked)]])
    kind = chance.choice(["routes", "router", "app", "host"])
    if kind == "host":
        return Host(chance.choice(["api.test", "{tenant}.test"]), Router(routes), name=chance.choice([None, "h"]))
    if kind == "routes":
        return Mount(path, routes=routes, name=name, middleware=middleware)
    app = Router(routes) if kind == "router" else Starlette(routes=routes)
    return Mount(path, app, name=name, middleware=middleware)


def a_table(chance: random.Random, depth: int = 2) -> list[BaseRoute]:
    table: list[BaseRoute] = []
    for _ in range(chance.randint(1, 8)):
        if depth and chance.random() < 0.25:
            table.append(a_mount(chance, depth))
        elif chance.random() < 0.1:
            table.append(WebSocketRoute(a_path(chance), talk, name="one"))
        else:
            table.append(a_route(chance))
    return table


def a_request(chance: random.Random) -> dict[str, Any]:
    kinds = ["a", "a", "a", "b", "ab", "A", "A", "a-b", "7", "1.5", "zz", ""]
    segments = chance.choices(kinds, k=chance.choice([0, 1, 1, 1, 2, 2, 3]))
    return {
        "method": chance.choice(["GET", "GET", "GET", "HEAD", "POST", "DELETE", "BREW"]),
        "path": "/" + "/".join(segments) + chance.choice(["", "", "", "/", "\n"]),
        "host": chance.choice([b"api.test", b"API.test:80", b"x.test", b"else", b"bad host"]),
        "version": chance.choice([b"1", b"2"]),
        "root_path": chance.choice(["", "", "/root"]),
    }


async def talk(websocket: Any) -> None:
    """Never reached by HTTP."""


async def asked(app: Any, request: dict[str, Any]) -> tuple[Any, ...]:
    path = request["root_path"] + request["path"]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request["method"],
        "path": path,
        "root_path": request["root_path"],
        "query_string": b"q=1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "headers": [(b"host", request["host"]), (b"x-version", request["version"])],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("no route reads a body")

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception as error:
        if not sent:
            return (type(error).__name__,)
    start, body = sent[0], b"".join(message.get("body", b"") for message in sent)
    headers = {name: value for name, value in start["headers"] if name not in (b"x-request-id", b"x-served-by")}
    headers[b"allow"] = b",".join(sorted(headers.get(b"allow", b"").split(b", ")))
    headers.pop(b"content-length", None)  # of ids
    if start["status"] != 200 or not body:
        return start["status"], headers, body
    return start["status"], headers, json.loads(body)


def same(routes: list[BaseRoute], asking: list[dict[str, Any]], change: Callable[[Starlette], None] = id) -> None:  # type: ignore[assignment]
    plain = Starlette(routes=routes)
    ours = Starlette(routes=routes, middleware=[Middleware(FrontDoor)])

    async def compare() -> None:
        for request in asking:
            assert await asked(ours, request) == await asked(plain, request), request
        change(plain)
        change(ours)
        for request in asking:
            assert await asked(ours, request) == await asked(plain, request), request

    asyncio.run(compare())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_an_app_behind_the_front_door_answers_as_without_it(seed: int) -> None:
    chance = random.Random(seed)
    routes, more = a_table(chance), a_table(chance, depth=0)
    same(routes, [a_request(chance) for _ in range(12)], lambda app: app.router.routes.__setitem__(slice(0, 0), more))
