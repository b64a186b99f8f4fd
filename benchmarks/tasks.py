"""What a start of a background task costs: ``python -m benchmarks.tasks [FOLDER]``. The best of several runs.

A request that starts a task, against the same request that starts none, through the front door and from a Flask view;
with many at a time, as they come to a worker, and one after the other. The difference is the whole price in processor
time, of all threads: the task is run and written down. ``waits`` is what its answer comes later. The exit code holds
GOAL.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from graft import tasks
from graft.bridge.mount import LegacyMount
from graft.routing.frontdoor import FrontDoor
from graft.settings import Settings

GOAL = 0.2  # milliseconds a start
AT_ONCE = 50
REQUESTS = 2000
RUNS = 5


async def nothing() -> None:
    pass


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * 36)


async def starting(request: Request) -> PlainTextResponse:
    return PlainTextResponse(tasks.start(nothing))


def flask_app() -> Flask:
    app = Flask("benchmark")
    app.add_url_rule("/flask", "plain", lambda: "x" * 36)
    app.add_url_rule("/flask/start", "starting", lambda: tasks.start(nothing))
    return app


async def ask(app: Any, path: str) -> None:
    headers: list[tuple[bytes, bytes]] = []
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "", "state": {},
             "client": ("127.0.0.1", 1), "server": ("test", 80), "asgi": {"version": "3.0"}}  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RuntimeError(f"{path} answered {message['status']}")

    await app(scope, receive, send)


async def milliseconds(app: Any, path: str, at_once: int, requests: int) -> tuple[float, float]:
    """Processor time and time of one request, of ``requests`` by ``at_once`` clients."""

    async def client() -> None:
        for _ in range(requests // at_once):
            await ask(app, path)

    begun, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(at_once)))
    per_request = 1000 / requests
    return (time.process_time() - used) * per_request, (time.perf_counter() - begun) * per_request * at_once


async def main(folder: Path) -> bool:
    mount = LegacyMount(flask_app())
    routes = [Route("/native", plain), Route("/native/start", starting), Mount("/", app=mount)]
    app = Starlette(routes=routes, middleware=[Middleware(FrontDoor, legacy=mount)])
    met = True
    async with tasks.Runner.open(Settings.load(data=folder)):
        for side in ("native", "flask"):
            for at_once in (AT_ONCE, 1):
                requests = REQUESTS if at_once > 1 else REQUESTS // 10
                costs, waits = [], []
                for _ in range(RUNS):
                    without = await milliseconds(app, f"/{side}", at_once, requests)
                    beginning = await milliseconds(app, f"/{side}/start", at_once, requests)
                    costs.append(beginning[0] - without[0])
                    waits.append(beginning[1] - without[1])
                met = met and min(costs) < GOAL
                print(f"{side:7} {at_once:3} at once   {min(costs):6.3f} ms a start, waits {min(waits):6.2f} ms")
    await mount.aclose()
    return met


if __name__ == "__main__":
    logging.getLogger("graft").setLevel(logging.WARNING)
    if len(sys.argv) > 1:
        sys.exit(0 if asyncio.run(main(Path(sys.argv[1]))) else 1)
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(0 if asyncio.run(main(Path(temporary))) else 1)
