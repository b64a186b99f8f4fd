from __future__ import annotations

import json
from typing import Any

import pytest

from graft.figures.recorder import RECORDER
from graft.figures.route_figures import Latency, NotFigures, RouteFigures
from graft.types import Side


async def test_figures_are_told_by_route_and_side() -> None:
    for _ in range(3):
        RECORDER.answered("GET /statistics", Side.NATIVE, 200, 0.004)
    RECORDER.answered("GET /statistics", Side.LEGACY, 503, 0.02)
    RECORDER.answered("GET /statistics", Side.FALLBACK, 200, 0.02)
    route = RECORDER.figures()["GET /statistics"]
    assert route.served == {Side.NATIVE: 3, Side.LEGACY: 1, Side.FALLBACK: 1}
    assert route.requests == 5
    assert route.statuses[Side.LEGACY] == {"5xx": 1}
    assert route.latency[Side.NATIVE].quantile_ms(0.5) == pytest.approx(4, rel=0.005)


def figures(**mirrored: int) -> RouteFigures:
    latency = {**dict.fromkeys(Side, Latency()), Side.NATIVE: Latency({7: 3, 9: 2})}
    return RouteFigures({Side.NATIVE: 5, Side.LEGACY: 2, Side.FALLBACK: 1}, 1, latency, mirrored)


def test_figures_under_two_names_are_added() -> None:
    both = figures(matched=3, failed=1) + figures(matched=1, different=4)
    assert (both.requests, both.native_failed, both.compared, both.parity) == (16, 2, 8, 50)
    assert both.latency[Side.NATIVE] == Latency({7: 6, 9: 4})
    assert figures() + RouteFigures() == RouteFigures() + figures() == figures()


def test_since_an_earlier_moment_the_latency_counts_anew_too() -> None:
    now = figures(matched=3) + figures(matched=1, different=4)
    since = now.since(figures(matched=3))
    assert since is not None
    assert (since.requests, since.matched, since.different) == (8, 1, 4)
    assert since.latency[Side.NATIVE] == Latency({7: 3, 9: 2})
    assert now.since(RouteFigures()) == now


def test_what_was_counted_for_other_code_is_no_earlier_moment_of_this() -> None:
    old, new = figures(matched=3), figures(matched=4)
    old.build, new.build = "a", "b"
    assert new.since(old) is None
    old.build = "b"
    assert new.since(old) is not None


@pytest.mark.parametrize(
    "earlier",
    [
        figures(matched=4),
        figures() + figures(),
        RouteFigures(latency={**dict.fromkeys(Side, Latency()), Side.LEGACY: Latency({7: 1})}),
        RouteFigures(latency={**dict.fromkeys(Side, Latency()), Side.NATIVE: Latency({8: 1})}),
    ],
)
def test_a_moment_with_more_anywhere_is_not_earlier(earlier: RouteFigures) -> None:
    assert figures(matched=3).since(earlier) is None


def test_figures_survive_json() -> None:
    data = json.loads(json.dumps(figures(matched=3).as_data(), allow_nan=False))
    assert RouteFigures.of_data(data) == figures(matched=3)
    assert RouteFigures.of_data(RouteFigures().as_data()) == RouteFigures()


@pytest.mark.parametrize(
    "changes",
    [
        {"served": {"native": 1}},
        {"served": {"native": 1, "legacy": 1, "fallback": "x"}},
        {"latency": {}},
        {"latency": {side: {"bins": {"x": 1}} for side in Side}},
        {"more": 1},
        {"native_failed": None},
    ],
)
def test_data_that_are_no_figures_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's or ours
        RouteFigures.of_data({**figures().as_data(), **changes})
    for nothing in (None, [], {}):
        with pytest.raises(NotFigures):
            RouteFigures.of_data(nothing)
