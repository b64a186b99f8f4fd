"""The switchboards' figures as metrics: counted here, and read back over all workers."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Histogram

from graft.observe import metrics, statistics
from graft.observe.statistics import RouteStatistics
from graft.switching.figures import Figures, Latency
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


class MetricsStatistics:
    """The figures that promotion decides by."""

    def figures(self) -> Mapping[RouteKey, Figures]:
        return {
            RouteKey.parse(name): figures_of(route)
            for name, route in statistics.read().items()
            if name.startswith(_METHODS)
        }


def figures_of(route: RouteStatistics) -> Figures:
    compared = route.compared
    return Figures(
        native=route.served[Side.NATIVE],
        legacy=route.served[Side.LEGACY],
        fallback=route.served[Side.FALLBACK],
        native_failed=route.native_failed,
        compared=compared.get("matched", 0) + compared.get("different", 0),
        matched=compared.get("matched", 0),
        failed=compared.get("failed", 0),
        skipped=compared.get("skipped", 0),
        native_latency=_latency(route, Side.NATIVE),
        legacy_latency=_latency(route, Side.LEGACY),
    )


def _latency(route: RouteStatistics, side: Side) -> Latency:
    quantile = route.latency[side].quantile_ms
    return Latency(quantile(0.5), quantile(0.95), quantile(0.99))


_METHODS = ("GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS ", "ANY ")
