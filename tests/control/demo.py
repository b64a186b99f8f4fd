"""``python -m tests.control.demo PORT FOLDER``: the control plane over made-up figures, for the browser test."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from graft.control.api import Api
from graft.control.logins import Logins
from graft.control.routes import control_routes
from graft.figures import folders
from graft.figures.recorder import RECORDER
from graft.figures.route_figures import RouteFigures
from graft.mirroring.answers import Answer
from graft.mirroring.compare import Comparison, compare
from graft.mirroring.differences import DifferenceWriter, difference_store
from graft.mirroring.mirrored import Mirrored
from graft.operations.file_state import FileState
from graft.operations.switch import Switch
from graft.request_record import Work
from graft.routing.table import RouteTable
from graft.search.client import open_client
from graft.settings import Settings
from graft.types import RouteKey, Side
from tests.control.app import TOKENS, Traffic, native, table_of

USERS = RouteKey("GET", "/users/{name}")

SWITCHES = """\
["GET /"]
share = 100
mirror = 5

["GET /api/articles/{id:int}"]
share = 50
mirror = 100

["GET /api/search"]
share = 10
mirror = 100

["POST /api/articles"]
share = 0
mirror = 0
tripped = "7 of 12 native answers failed within 60 s (58 %), the last one: ConnectionError: elasticsearch:9200 refused"
tripped_at = 2026-01-31T12:04:05Z

["GET /users/{name}"]
share = 1
mirror = 100
hooks = false
ladder = [5, 12.5, 100]
"""


def table() -> RouteTable:
    natives = [
        native("/"),
        native("/api/articles/{id:int}"),
        native("/api/search"),
        native("/api/articles", "POST"),
        native("/users/{name}"),
        native("/api/reports/{year:int}"),
        native("/api/suggest"),
        native("/events"),
        native("/docs/intro"),
    ]
    return table_of(
        natives, "/", "/api/articles/<int:id>", "/api/search", "GET,POST /api/articles", "/users/<name>", "/users/me",
        "/api/reports/<year>", "/docs/<path:page>", "/about", "GET,POST /login", "/logout", "/static/<path:filename>",
        "/admin/a-very-long-name-that-somebody-chose/<int:identifier>/with/<another_parameter>/and/more",
    )  # fmt: skip


def traffic() -> Traffic:
    made, dice = Traffic(), random.Random(4)

    def sides(route: str, natively: int, legacy: int, fallback: int, fast: float, slow: float) -> None:
        for side, count, median in (
            ("native", natively, fast),
            ("legacy", legacy, slow),
            ("legacy; fallback", fallback, slow),
        ):
            if count:
                made.served(route, side, count, median)
                for _ in range(40):
                    made.served(route, side, 1, median * dice.lognormvariate(0.4, 0.8))

    sides("GET /", 18_204, 312, 0, 0.006, 0.031)
    sides("GET /api/articles/{id:int}", 40_211, 41_019, 17, 0.009, 0.048)
    sides("GET /api/search", 2_310, 21_880, 3, 0.021, 0.19)
    sides("POST /api/articles", 5, 820, 0, 0.09, 0.07)
    sides("GET /users/{name}", 12, 3_120, 0, 0.012, 0.024)
    sides("GET /api/suggest", 9_120, 0, 0, 0.004, 0)
    sides("GET /login", 0, 1_204, 0, 0, 0.05)
    sides("GET /static/{filename:path}", 0, 32_000, 0, 0, 0.002)
    sides("GET /about", 0, 61, 0, 0, 0.012)
    for route, wall, cpu in (
        ("GET /api/search", 0.19, 0.01),
        ("GET /login", 0.05, 0.049),
        ("GET /static/{filename:path}", 0.002, 0.001),
    ):
        for _ in range(2000):
            RECORDER.answered(route, Side.LEGACY, 200, wall)
        for _ in range(250):
            RECORDER.worked(route, Work(wall, cpu, 0.0))
    made.mirrored("GET /", matched=902)
    made.mirrored("GET /api/articles/{id:int}", matched=81_214, different=4, failed=2, skipped=31)
    made.mirrored("GET /api/search", matched=23_208, different=871, failed=12)
    made.mirrored("GET /users/{name}", matched=3_090, different=1)
    return made


def page_difference() -> Mirrored:
    """Two pages that differ in a word; one has a script, a picture from elsewhere and a form."""

    def page(side: Side, word: str) -> Answer:
        body = f"""<!doctype html><html><head><title>Ada</title><script>alert(1)</script>
            <style>h1 {{ color: red }}</style></head><body onload="alert(2)"><h1 style="color: red">{word} Ada</h1><img src="https://elsewhere.test/a.png">
            <form action="/logout" method="post"><button>Log out</button></form></body></html>"""
        return Answer(side, 200, ((b"content-type", b"text/html; charset=utf-8"),), body.encode(), 9.0)

    native, legacy = page(Side.NATIVE, "Hello,"), page(Side.LEGACY, "Welcome,")
    scope = {
        "type": "http", "method": "GET", "path": "/users/ada", "query_string": b"", "headers": [],
        "state": {"request_id": "demo-page"},
    }  # fmt: skip
    switch = Switch()
    return Mirrored(
        USERS, Side.LEGACY, scope, b"", switch, native, legacy, compare(native, legacy, Comparison.of(switch))
    )


def difference(number: int) -> Mirrored:
    """Two answers to a search: in most of them a price differs, in some the native side failed."""

    def answer(side: Side, **fields: object) -> Answer:
        body = json.dumps({"took": number, "total": 1, "items": [{"id": 7, "title": "Grafting apples", **fields}]})
        return Answer(side, 200, ((b"content-type", b"application/json"),), body.encode(), 12.5 + number)

    native, legacy = answer(Side.NATIVE, price=9.5), answer(Side.LEGACY, price="9.50", tags=["tree"])
    if number % 3 == 2:
        trace = (
            "Traceback (most recent call last):\n  File \"async_routes/shop.py\", line 12, in search\nKeyError: 'price'"
        )
        failure = "KeyError: 'price' (async_routes/shop.py:12 in search)"
        native = Answer(Side.NATIVE, 500, (), b"", 3.2, trace, failure)
    scope = {
        "type": "http", "method": "GET", "path": "/api/search", "query_string": f"q=apple&page={number}".encode(),
        "headers": [(b"accept", b"application/json")], "state": {"request_id": f"demo-{number}"},
    }  # fmt: skip
    key, switch = RouteKey("GET", "/api/search"), Switch()
    differences = compare(native, legacy, Comparison.of(switch))
    return Mirrored(key, Side.LEGACY, scope, b"", switch, native, legacy, differences)


def app(folder: Path) -> Starlette:
    switches = folder / "switches.toml"
    if not switches.exists():
        switches.write_text(SWITCHES)
    figures = traffic()
    RECORDER.figures = figures.read  # type: ignore[method-assign]
    state = FileState(switches, switches.parent)
    follower = state.follow()
    earlier = {USERS: RouteFigures(mirrored={"matched": 3_000, "different": 1})}
    folders.server_name = lambda: "demo"  # a server that is started again stands on the same rungs
    counted = [(key, switch, earlier.get(key, RouteFigures())) for key, switch in state.read().items()]
    state.baselines.begin_all(counted, folders.server_name())

    settings = Settings.load(data=folder)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with open_client(settings) as client:
            differences = DifferenceWriter(difference_store(settings, client))
            for number in range(7):
                await differences.keep(difference(number))
            await differences.keep(page_difference())
            await differences.learned(RouteKey("GET", "/api/search"), frozenset({"body.took"}))
            await differences.flush()
            yield {"elasticsearch": client}

    return Starlette(
        routes=[control_routes(TOKENS, Logins(TOKENS, None), {}, Api(settings, table(), state, follower))],
        lifespan=lifespan,
    )


if __name__ == "__main__":
    uvicorn.run(app(Path(sys.argv[2])), port=int(sys.argv[1]), log_level="warning")
