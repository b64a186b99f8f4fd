"""``python -m tests.control.demo PORT FOLDER``: the control plane with made-up figures, to test and to look at."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from graft.control.api import Api
from graft.control.routes import control_routes
from graft.observe import metrics
from graft.routing.table import RouteTable
from graft.switching.watcher import Watcher
from tests.control.app import TOKEN, Traffic, native, table_of

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
    made.mirrored("GET /", matched=902)
    made.mirrored("GET /api/articles/{id:int}", matched=81_214, different=4, failed=2, skipped=31)
    made.mirrored("GET /api/search", matched=23_208, different=871, failed=12)
    made.mirrored("GET /users/{name}", matched=3_090, different=1)
    return made


def app(folder: Path) -> Starlette:
    switches = folder / "switches.toml"
    if not switches.exists():
        switches.write_text(SWITCHES)
    figures = traffic()
    metrics.registry = lambda: figures.registry
    watcher = Watcher(switches)
    return Starlette(routes=[control_routes(TOKEN, {}, Api(table(), watcher))])


if __name__ == "__main__":
    uvicorn.run(app(Path(sys.argv[2])), port=int(sys.argv[1]), log_level="warning")
