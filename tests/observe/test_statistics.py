from __future__ import annotations

import pytest

from graft.observe import metrics, statistics
from graft.observe.statistics import Latency
from graft.types import Side


async def test_figures_are_told_by_route_and_side() -> None:
    for _ in range(3):
        metrics.record("GET /statistics", Side.NATIVE, 200, 0.004)
    metrics.record("GET /statistics", Side.LEGACY, 503, 0.02)
    metrics.record("GET /statistics", Side.FALLBACK, 200, 0.02)
    route = statistics.read()["GET /statistics"]
    assert route.served == {Side.NATIVE: 3, Side.LEGACY: 1, Side.FALLBACK: 1}
    assert route.failed[Side.LEGACY] == 1
    assert route.requests == 5
    median = route.latency[Side.NATIVE].quantile_ms(0.5)
    assert median is not None
    assert 2.5 < median <= 5


@pytest.mark.parametrize(
    ("latency", "q", "expected"),
    [
        (Latency(), 0.5, None),
        (Latency((1.0, float("inf")), (0.0, 0.0)), 0.5, None),
        (Latency((0.1, 0.2, float("inf")), (10.0, 20.0, 20.0)), 0.5, 100.0),
        (Latency((0.1, 0.2, float("inf")), (10.0, 20.0, 20.0)), 0.75, 150.0),
        (Latency((0.1, 0.2, float("inf")), (0.0, 0.0, 5.0)), 0.99, 200.0),
    ],
)
def test_quantiles_lie_straight_between_the_bounds(latency: Latency, q: float, expected: float | None) -> None:
    assert latency.quantile_ms(q) == expected
