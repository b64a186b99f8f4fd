"""The metrics of routes as Prometheus has them, made from what all workers wrote for each other.

Five families with some ten thousand lines, for some hundred routes: parsed out of memory-mapped files one by one they
held the loop for more than half a second, so they are kept as lists, added up as lists and written as text here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add

import orjson
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds."""

BOUNDS = (*(str(float(bound)) for bound in BUCKETS), "+Inf")

REQUEST_SECONDS, MIRROR_SECONDS = "graft_request_seconds", "graft_mirror_seconds"
WORK = "graft_legacy_sampled_seconds"
REQUESTS, FAILURES, TRIPS, MIRRORED = "graft_requests", "graft_native_failures", "graft_trips", "graft_mirrored"

HELP: Mapping[str, str] = {
    REQUEST_SECONDS: "Time from a request's arrival to the end of its response.",
    REQUESTS: "Requests answered, by route template, side and status class; 499: the client left before the answer.",
    FAILURES: "Native answers to users that failed, whether the legacy side stepped in or not.",
    TRIPS: "Routes taken from the native side by themselves.",
    WORK: "Time of sampled Flask views by what their thread did: cpu, waiting; unclear beside busy neighbours.",
    MIRRORED: "Requests for the mirror: matched, different (withdrawn: not any more), untold, failed, skipped.",
    MIRROR_SECONDS: "Time that the other side took for a mirrored request.",
}
LABELS: Mapping[str, tuple[str, ...]] = {
    REQUEST_SECONDS: ("route", "side"),
    REQUESTS: ("route", "side", "status"),
    FAILURES: ("route", "reason"),
    TRIPS: ("route",),
    MIRRORED: ("route", "result", "reason"),
    MIRROR_SECONDS: ("route", "side"),
    WORK: ("route", "state"),
}

COUNTERS = (REQUESTS, FAILURES, TRIPS, MIRRORED, WORK)

Counts = dict[str, dict[str, float]]
"""Of a counter: by route and by the other labels, which are joined by tabs."""

Durations = dict[str, dict[str, list[float]]]
"""Of a histogram: by route and side so many in each bucket, and at the end the sum of their seconds."""


@dataclass(slots=True)
class RouteMetrics:
    """By the name of the family. What one worker counted, or all of them."""

    counters: dict[str, Counts] = field(default_factory=lambda: {family: {} for family in COUNTERS})
    histograms: dict[str, Durations] = field(default_factory=lambda: {REQUEST_SECONDS: {}, MIRROR_SECONDS: {}})

    @classmethod
    def of(cls, packed: bytes) -> RouteMetrics:
        """Raises ValueError for what is not ``packed``."""
        return cls(**orjson.loads(packed))

    def packed(self) -> bytes:
        """As they are now, for another thread: JSON takes a tenth of the time of a copy."""
        return orjson.dumps(self)

    def count(self, family: str, route: str, *labels: str, number: float = 1) -> None:
        counts = self.counters[family].setdefault(route, {})
        name = "\t".join(labels)
        counts[name] = counts.get(name, 0) + number

    def observe(self, family: str, route: str, side: str, buckets: list[float], seconds: float) -> None:
        """So many in each bucket, the last of which has no bound."""
        series = self.histograms[family].setdefault(route, {}).setdefault(side, [0.0] * (len(BOUNDS) + 1))
        series[:] = map(add, series, [*buckets, seconds])


def total(workers: Iterable[RouteMetrics]) -> RouteMetrics:
    whole = RouteMetrics()
    workers = list(workers)
    for worker in workers:
        for family, counters in worker.counters.items():
            for route, counts in counters.items():
                for labels, count in counts.items():
                    sums = whole.counters[family].setdefault(route, {})
                    sums[labels] = sums.get(labels, 0) + count
    for family, histograms in whole.histograms.items():
        for worker in workers:
            for route, sides in worker.histograms[family].items():
                mine = histograms.setdefault(route, {})
                for side, series in sides.items():
                    mine[side] = list(map(add, mine[side], series)) if side in mine else series
    return whole


def text(metrics: RouteMetrics) -> str:
    """As ``prometheus_client.generate_latest`` writes them."""
    return "".join(f"{line}\n" for line in _lines(metrics))


def _lines(metrics: RouteMetrics) -> Iterator[str]:
    for family, counters in metrics.counters.items():
        yield f"# HELP {family}_total {HELP[family]}\n# TYPE {family}_total counter"
        for route, counts in counters.items():
            for labels, count in counts.items():
                yield f"{family}_total{{{_labels(family, route, labels)}}} {float(count)}"
    for family, histograms in metrics.histograms.items():
        yield f"# HELP {family} {HELP[family]}\n# TYPE {family} histogram"
        for route, sides in histograms.items():
            for side, series in sides.items():
                labels = _labels(family, route, side)
                within = list(accumulate(series[:-1]))
                for bound, count in zip(BOUNDS, within, strict=True):
                    yield f'{family}_bucket{{le="{bound}",{labels}}} {count}'
                yield f"{family}_count{{{labels}}} {within[-1]}\n{family}_sum{{{labels}}} {series[-1]}"


def _labels(family: str, route: str, joined: str) -> str:
    pairs = zip(LABELS[family], _values(route, joined), strict=True)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(pairs))


def _values(route: str, joined: str) -> tuple[str, ...]:
    return (route, *joined.split("\t")) if joined else (route,)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def families(metrics: RouteMetrics) -> Iterator[Metric]:
    """The same as prometheus_client's objects, for its registry."""
    for family, counters in metrics.counters.items():
        counter = CounterMetricFamily(family, HELP[family], labels=LABELS[family])
        for route, counts in counters.items():
            for labels, count in counts.items():
                counter.add_metric(_values(route, labels), count)
        yield counter
    for family, histograms in metrics.histograms.items():
        histogram = HistogramMetricFamily(family, HELP[family], labels=LABELS[family])
        for route, sides in histograms.items():
            for side, series in sides.items():
                within = accumulate(series[:-1])
                histogram.add_metric((route, side), list(zip(BOUNDS, within, strict=True)), series[-1])
        yield histogram
