"""What it costs to find a route: ``python -m benchmarks.router``. Processor time, the best of many runs.

A dictionary look-up is what cannot be undercut; Starlette's own router is what is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount, Route, Router

from graft.request_record import KEY, RequestRecord
from graft.routing.router import IndexedRouter


async def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse("")


def microseconds(call: Callable[[], Any], times: int = 2_000, runs: int = 30) -> float:
    def once() -> float:
        started = time.process_time()
        for _ in range(times):
            call()
        return (time.process_time() - started) / times * 1e6

    return min(once() for _ in range(runs))


def by_starlette(routes: list[BaseRoute], scope: dict[str, Any]) -> None:
    for route in routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            scope["route"] = route
            scope.update(child_scope)
            return


def main() -> None:
    literal = [Route(f"/r{number}", endpoint) for number in range(100)]
    templates = [Route(f"/r{number}/{{id:int}}", endpoint) for number in range(100)]
    cases: list[tuple[str, list[BaseRoute], str]] = [
        ("one route", [literal[99]], "/r99"),
        ("the last of 100 routes", [*literal], "/r99"),
        ("the last of 100 templates", [*templates], "/r99/7"),
        ("the mount behind 100 routes", [*literal, Mount("/", endpoint)], "/else/where"),
    ]
    for name, routes, path in cases:
        router = IndexedRouter.of(Router(routes))
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": [], KEY: RequestRecord()}
        table = {("GET", path): routes[-1]}
        ours = microseconds(lambda router=router, scope=scope: router.find(dict(scope)))  # type: ignore[misc]
        theirs = microseconds(lambda routes=routes, scope=scope: by_starlette(routes, dict(scope)))  # type: ignore[misc]
        least = microseconds(lambda table=table, scope=scope: table.get((scope["method"], dict(scope)["path"])))  # type: ignore[misc]
        print(f"{name:28} {ours:6.2f} us   Starlette {theirs:6.2f} us   a dictionary {least:5.2f} us")


if __name__ == "__main__":
    main()
