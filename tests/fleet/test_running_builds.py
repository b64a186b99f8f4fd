"""Builds of a route that run at the same time stand side by side."""

from __future__ import annotations

import io

from rich.console import Console

from graft.cli.routes import _print
from graft.figures.route_figures import RouteFigures
from graft.fleet.running_builds import running_builds
from tests.operations.climbing import figures

ROUTE = "GET /a/{id:int}"


def of(build: str, **counted: int) -> dict[str, RouteFigures]:
    one = figures(**counted, took=(4.0, 9.0))  # type: ignore[arg-type]
    one.build = build
    return {ROUTE: one}


HOSTS = [
    ("web-1", of("3f9a", native=200, legacy=100, compared=120, matched=118)),
    ("web-2", of("3f9a", native=220, legacy=100, compared=130, matched=130)),
    ("web-2", of("3f9a")),  # the server before its restart
    ("web-3", of("b01c", native=7, legacy=3, compared=4, matched=4, native_failed=1)),
]


def test_each_build_has_its_hosts_and_what_they_counted() -> None:
    old, new = running_builds(HOSTS)[ROUTE]
    assert (old["build"], old["hosts"], old["compared"], old["matched"]) == ("3f9a", 2, 250, 248)
    assert old["served"] == {"native": 420, "legacy": 200, "fallback": 0}
    assert (new["build"], new["hosts"], new["compared"], new["native_failed"]) == ("b01c", 1, 4, 1)
    assert new["latency_ms"]["native"]["p50"] < new["latency_ms"]["legacy"]["p50"]


def test_a_route_of_one_build_is_not_there() -> None:
    assert running_builds(HOSTS[:3]) == {}
    assert running_builds([("web-1", of("")), ("web-2", of("3f9a"))]) == {}  # not switched, or not yet known


def test_they_stand_below_the_table() -> None:
    written = io.StringIO()
    coverage = {"routes": 0, "traffic": 0, "rules": 0, "native_rules": 0, "requests": 0}
    data = {"routes": [], "coverage": coverage, "fleet": {"outliers": [], "builds": running_builds(HOSTS)}}
    _print(Console(file=written, width=160), data, [], counted=True, running=True)
    told = written.getvalue()
    assert f"{ROUTE} runs in several builds; its gates go by the least known one:" in told
    assert "3f9a on 2 hosts: 420 native (" in told
    assert "200 legacy (" in told
    assert "b01c on 1 host: 7 native (" in told
    assert "4 of 4 matched" in told
