from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, WebSocketRoute

from graft.routing.native import NativeRoute
from graft.routing.router import RouteIndex, directly


async def answer(request: Any) -> PlainTextResponse:
    return PlainTextResponse("native")


async def last(scope: Any, receive: Any, send: Any) -> None: ...


def scope_of(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], **more}


def by_router(routes: list[BaseRoute], scope: dict[str, Any]) -> tuple[BaseRoute, dict[str, Any]] | None:
    """What Starlette's router does: the first full match."""
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return route, child_scope
    return None


SEGMENTS = ("a", "b", "ab", "{x}", "{x:int}", "c")
ROUTES = [
    *(
        Route("/" + "/".join(pair), answer)
        for pair in itertools.product(SEGMENTS, SEGMENTS)
        if pair.count("{x}") < 2 and not all("{" in one for one in pair)
    ),
    *(Route(f"/{one}", answer, methods=["GET", "POST"]) for one in SEGMENTS),
    Route("/any", answer, methods=["DELETE"]),
    Route("/files/{rest:path}", answer),
    Route("/", answer),
    Mount("/m", app=last),
    Mount("/m/{tenant}", app=last),
    WebSocketRoute("/a", answer),
]
PATHS = [
    *("/" + "/".join(pair) for pair in itertools.product(("a", "b", "7", "zz", "c"), repeat=2)),
    *("/", "//", "/a", "/a/", "/7", "/any", "/files", "/files/", "/files/x/y", "/m", "/m/", "/m/x", "/m/x/y", "/mx"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_it_finds_what_starlettes_router_finds_whatever_the_order(seed: int) -> None:
    routes = random.Random(seed).sample(ROUTES, len(ROUTES))
    if seed % 2:
        routes.append(Mount("", app=last))
    if seed % 4 == 3:
        routes.insert(seed, Host("special.test", app=last))
    index = RouteIndex(routes)
    for path, method, host in itertools.product(PATHS, ("GET", "HEAD", "POST", "DELETE"), (b"x", b"special.test")):
        scope = scope_of(method, path, headers=[(b"host", host)])
        expected = by_router(routes, scope)
        found = index.find(scope)
        if expected is None:
            assert found is None, (method, path)
            continue
        assert found is not None, (method, path)
        assert found.route is expected[0], (method, path)
        assert {key: scope[key] for key in expected[1]} == expected[1], (method, path)
        assert scope["route"] is expected[0]


def test_under_a_root_path_the_path_behind_it_counts() -> None:
    index = RouteIndex([Route("/a", answer)])
    assert index.find(scope_of("GET", "/prefix/a", root_path="/prefix")) is not None
    assert index.find(scope_of("GET", "/prefix/b", root_path="/prefix")) is None


def test_only_a_plain_function_is_called_directly() -> None:
    def blocking(request: Any) -> PlainTextResponse:
        return PlainTextResponse("thread")

    wrapped = Route("/b", answer, middleware=[Middleware(GZipMiddleware)])
    assert directly(Route("/a", answer)) is not Route("/a", answer).app
    assert directly(wrapped) is wrapped.app
    sync = Route("/c", blocking)
    assert directly(sync) is not sync.app


def test_a_route_is_counted_under_the_names_that_the_route_table_has() -> None:
    class Page(HTTPEndpoint):
        async def get(self, request: Any) -> PlainTextResponse:
            return PlainTextResponse("native")

    for route in (Route("/a/{x:int}", Page), Route("/a", answer, methods=["POST"])):
        entry = RouteIndex([route]).find(scope_of("POST", route.path.replace("{x:int}", "7")))
        assert entry is not None
        keys = NativeRoute(route, "").keys
        assert {entry.labels[key.method] for key in keys} == {str(key) for key in keys}
        assert entry.other_label == f"ANY {route.path}"


def test_of_many_routes_that_begin_with_a_parameter_one_is_tried() -> None:
    """``/{tenant}/...``, as apps for many customers or languages have them."""
    templates = [f"/{{tenant}}/section{number}/{{id:int}}" for number in range(500)]
    others = ["/{tenant}/{page}", "/{path:path}.html", "/about"]
    routes: list[BaseRoute] = [Route(path, answer, name=path) for path in [*templates, *others]]
    index = RouteIndex(routes)
    for path, expected in (
        ("/acme/section499/7", [templates[499], "/{path:path}.html"]),
        ("/acme/section499/7/more", ["/{path:path}.html"]),
        ("/acme/welcome", ["/{tenant}/{page}", "/{path:path}.html"]),
    ):
        assert [entry.route.name for entry in index._candidates(path)] == expected  # type: ignore[attr-defined]
