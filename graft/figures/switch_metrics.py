"""The switchboards' figures as metrics; ``graft.figures.statistics`` reads them back over all workers."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from graft.figures import metrics
from graft.types import RouteKey, Side

_failures = Counter(
    "graft_native_failures",
    "Native answers to users that failed, whether the legacy side stepped in or not.",
    ("route", "reason"),
    registry=metrics.REGISTRY,
)
_trips = Counter(
    "graft_trips", "Routes taken from the native side by themselves.", ("route",), registry=metrics.REGISTRY
)
_mirrored = Counter(
    "graft_mirrored",
    "Requests for the mirror, by result: matched, different, failed, skipped.",
    ("route", "result", "reason"),
    registry=metrics.REGISTRY,
)
_mirror_seconds = Histogram(
    "graft_mirror_seconds",
    "Time that the other side took for a mirrored request.",
    ("route", "side"),
    buckets=metrics.BUCKETS,
    registry=metrics.REGISTRY,
)


class MetricsRecorder:
    """The switchboards' Recorder. Called for failures and mirrored requests only, so it counts at once."""

    def native_failed(self, key: RouteKey, reason: str) -> None:
        _failures.labels(str(key), reason).inc()

    def tripped(self, key: RouteKey, reason: str) -> None:
        _trips.labels(str(key)).inc()

    def mirrored(self, key: RouteKey, side: Side, seconds: float) -> None:
        _mirror_seconds.labels(str(key), side).observe(seconds)

    def compared(self, key: RouteKey, matched: bool) -> None:
        _mirrored.labels(str(key), "matched" if matched else "different", "").inc()

    def failed(self, key: RouteKey, reason: str) -> None:
        _mirrored.labels(str(key), "failed", reason).inc()

    def skipped(self, key: RouteKey, reason: str) -> None:
        _mirrored.labels(str(key), "skipped", reason).inc()
