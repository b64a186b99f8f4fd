"""The builds of a route that the hosts of a fleet run at this time, side by side, as in a rolling update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graft.figures.route_figures import RouteFigures, total
from graft.types import Side


def running_builds(servers: Sequence[tuple[str, Mapping[str, RouteFigures]]]) -> dict[str, list[dict[str, Any]]]:
    """By route, of those that run in more than one: each build with how many hosts run it and what these have counted,
    the one of which the most is known first. ``servers`` are names of hosts with what a server there shows."""
    found: dict[str, dict[str, list[tuple[str, RouteFigures]]]] = {}
    for host, shown in servers:
        for route, figures in shown.items():
            if figures.build:
                found.setdefault(route, {}).setdefault(figures.build, []).append((host, figures))
    return {
        route: sorted(
            (_told(build, counted) for build, counted in builds.items()), key=lambda each: -int(each["compared"])
        )
        for route, builds in sorted(found.items())
        if len(builds) > 1
    }


def _told(build: str, counted: Sequence[tuple[str, RouteFigures]]) -> dict[str, Any]:
    figures = total(each for _, each in counted)
    return {
        "build": build,
        "hosts": len({host for host, _ in counted}),
        "served": {side.name.lower(): figures.served[side] for side in Side},
        "latency_ms": {
            side.value: {name: figures.latency[side].quantile_ms(q) for name, q in (("p50", 0.5), ("p99", 0.99))}
            for side in (Side.NATIVE, Side.LEGACY)
        },
        "compared": figures.compared,
        "matched": figures.matched,
        "native_failed": figures.native_failed,
    }
