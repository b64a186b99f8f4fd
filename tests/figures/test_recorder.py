from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Histogram

from graft.figures.prometheus import REGISTRY
from graft.figures.recorder import RECORDER
from graft.figures.route_metrics import BUCKETS
from graft.types import RouteKey


async def test_handing_over_in_bulk_gives_what_observing_one_by_one_gives(metric: Callable[..., float]) -> None:
    durations = [0.0, 0.0005, 0.001, 0.0011, 0.03, 1.0, 29.9, 30.0, 31.0, 500.0]
    alone = CollectorRegistry()
    histogram = Histogram("graft_request_seconds", "x", ("route", "side"), buckets=BUCKETS, registry=alone)
    for seconds in durations:
        RECORDER.answered("GET /bulk", "native", 200, seconds)
        histogram.labels("GET /bulk", "native").observe(seconds)
    RECORDER.flush()
    for bound in (*(str(bound) if bound < 1 or bound == 2.5 else f"{bound:.1f}" for bound in BUCKETS), "+Inf"):
        labels = {"route": "GET /bulk", "side": "native", "le": bound}
        expected = alone.get_sample_value("graft_request_seconds_bucket", labels)
        assert expected is not None, bound
        assert metric("graft_request_seconds_bucket", **labels) == expected
    assert metric("graft_request_seconds_sum", route="GET /bulk", side="native") == sum(durations)


async def test_what_was_counted_is_handed_over_by_itself() -> None:
    labels = {"route": "GET /by-itself", "side": "native", "status": "2xx"}
    RECORDER.answered("GET /by-itself", "native", 204, 0.01)
    async with asyncio.timeout(5):
        while REGISTRY.get_sample_value("graft_requests_total", labels) != 1:
            await asyncio.sleep(0.01)


def test_what_is_withdrawn_is_counted_from_0_when_something_differs(metric: Callable[..., float]) -> None:
    """Of a counter that Prometheus first sees at 40, ``increase`` says 0."""
    key = RouteKey("GET", "/withdrawn-later")
    labels = {"route": str(key), "result": "withdrawn", "reason": ""}
    RECORDER.compared(key, False)
    RECORDER.flush()
    assert REGISTRY.get_sample_value("graft_mirrored_total", labels) == 0
    RECORDER.withdrawn(key, 40, "dark")
    RECORDER.flush()
    assert metric("graft_mirrored_total", **labels) == 40
