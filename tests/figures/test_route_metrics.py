from __future__ import annotations

import random
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from graft.figures import folders, route_metrics
from graft.figures.reader import exposition
from graft.figures.route_metrics import (
    BUCKETS,
    FAILURES,
    MIRROR_SECONDS,
    MIRRORED,
    REQUEST_SECONDS,
    REQUESTS,
    TRIPS,
    RouteMetrics,
    text,
    total,
)
from tests.figures.test_shared import worker

STRANGE = 'GET /a"b\\c\n{id}'


def counted(seed: int) -> RouteMetrics:
    """Of one worker, at random."""
    metrics, dice = RouteMetrics(), random.Random(seed)
    for route in ("GET /a", STRANGE, "(no route)")[: 1 + seed % 3]:
        for side in ("native", "legacy; fallback"):
            metrics.count(REQUESTS, route, side, dice.choice(("2xx", "499")), number=dice.randrange(9))
            buckets = [float(dice.randrange(5)) for _ in range(len(BUCKETS) + 1)]
            metrics.observe(REQUEST_SECONDS, route, side, buckets, dice.random())
        metrics.observe(MIRROR_SECONDS, route, "native", buckets, 40.003)
        metrics.count(FAILURES, route, "deadline")
        metrics.count(TRIPS, route)
        metrics.count(MIRRORED, route, "matched", "")
        metrics.count(MIRRORED, route, "skipped", "budget", number=7)
    return metrics


class Given(Collector):
    def __init__(self, metrics: RouteMetrics) -> None:
        self.metrics = metrics

    def collect(self) -> object:  # type: ignore[override]
        return route_metrics.families(self.metrics)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("seed", range(6))
def test_the_text_says_what_prometheus_client_would_say(seed: int) -> None:
    registry = CollectorRegistry()
    registry.register(Given(counted(seed)))
    theirs = generate_latest(registry).decode()
    assert samples(text(counted(seed))) == samples(theirs)
    kinds = [line for line in theirs.splitlines() if line.startswith("#")]
    assert [line for line in text(counted(seed)).splitlines() if line.startswith("#")] == kinds


def test_workers_add_up_and_what_is_packed_comes_back() -> None:
    one, other = counted(1), counted(2)
    both = samples(text(total([RouteMetrics.of(one.packed()), other])))
    first, second = samples(text(one)), samples(text(other))
    assert both == {name: first.get(name, 0) + second.get(name, 0) for name in first | second}
    assert samples(text(one)) == first  # as they were


async def test_a_scrape_has_all_workers_and_the_other_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for build in ("old", "new"):
        worker(tmp_path, build)
    monkeypatch.setattr(folders, "shared", tmp_path)
    told = samples((await exposition())[0].decode())
    labels = frozenset({"route": "GET /shared/{id:int}", "side": "native"}.items())
    assert told["graft_request_seconds_count", labels] == 200
    assert told["graft_request_seconds_bucket", labels | {("le", "0.05")}] == 100
    assert told["graft_requests_total", labels | {("status", "2xx")}] == 200
