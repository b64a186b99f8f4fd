"""What the metrics say of each route, all workers together: the figures of ``graft routes`` and of the dashboard."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from prometheus_client import CollectorRegistry

from graft.observe import metrics
from graft.types import Side


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, from a histogram: cumulative counts of those within each upper bound (seconds)."""

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    def quantile_ms(self, q: float) -> float | None:
        """The latency in milliseconds that a share ``q`` (0 to 1) of answers kept; None when there were none.

        Straight between the bounds of a bucket, as Prometheus's ``histogram_quantile`` has it.
        """
        if not self.counts or not self.counts[-1]:
            return None
        rank = q * self.counts[-1]
        for (low, below), (high, within) in pairwise(zip((0.0, *self.bounds), (0.0, *self.counts), strict=True)):
            if within >= rank:
                bound = low if high == float("inf") else low + (high - low) * (rank - below) / (within - below or 1)
                return round(bound * 1000, 3)
        return None


@dataclass(slots=True)
class RouteStatistics:
    """Figures of one route since the metrics were last emptied, which is when the master process starts."""

    served: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    failed: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    """answers with a 5xx"""
    native_failed: int = 0
    """native answers that failed, also where the user got the legacy side's"""
    latency: dict[Side, Latency] = field(default_factory=lambda: dict.fromkeys(Side, Latency()))
    """answers to users and mirrored runs together"""
    compared: dict[str, int] = field(default_factory=dict)
    """requests for the mirror, by result"""

    @property
    def requests(self) -> int:
        return sum(self.served.values())


def read(registry: CollectorRegistry | None = None) -> dict[str, RouteStatistics]:
    """``{"GET /path": figures}``; a route that was never asked for is not in it."""
    routes: defaultdict[str, RouteStatistics] = defaultdict(RouteStatistics)
    buckets: defaultdict[tuple[str, Side], dict[float, float]] = defaultdict(dict)
    for family in (registry or metrics.registry()).collect():
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "graft_requests_total":
                route, side = routes[labels["route"]], Side(labels["side"])
                route.served[side] += int(sample.value)
                if labels["status"] == "5xx":
                    route.failed[side] += int(sample.value)
            elif sample.name in ("graft_request_seconds_bucket", "graft_mirror_seconds_bucket"):
                counts = buckets[labels["route"], Side(labels["side"])]
                bound = float(labels["le"])
                counts[bound] = counts.get(bound, 0.0) + sample.value
            elif sample.name == "graft_native_failures_total":
                routes[labels["route"]].native_failed += int(sample.value)
            elif sample.name == "graft_mirrored_total":
                compared = routes[labels["route"]].compared
                compared[labels["result"]] = compared.get(labels["result"], 0) + int(sample.value)
    for (name, side), counts in buckets.items():
        bounds = sorted(counts)
        routes[name].latency[side] = Latency(tuple(bounds), tuple(counts[bound] for bound in bounds))
    return dict(routes)
