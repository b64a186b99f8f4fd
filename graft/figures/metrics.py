"""Metrics in the Prometheus text format, all workers together.

Gunicorn's workers share one folder of memory-mapped files (PROMETHEUS_MULTIPROC_DIR, set by gunicorn.conf.py before
anything here is imported); without it the figures are those of this one process. Labels are route templates, sides
and status classes: nothing that a client can make up.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from graft.figures import mapped_files

mapped_files.install()  # before the first metric is made
REGISTRY = CollectorRegistry()

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds."""

_seconds = Histogram(
    "graft_request_seconds",
    "Time from a request's arrival to the end of its response.",
    ("route", "side"),
    buckets=BUCKETS,
    registry=REGISTRY,
)
_requests = Counter(
    "graft_requests",
    "Requests answered, by route template, side and status class.",
    ("route", "side", "status"),
    registry=REGISTRY,
)


class Series:
    """The figures of one route on one side, on their way to the metrics.

    A request adds to plain numbers, at a tenth of the cost of memory-mapped counters; ``flush`` hands them over. Used
    by the event loop's thread alone.
    """

    __slots__ = ("_buckets", "_histogram", "_labels", "_statuses", "_sum")

    def __init__(self, route: str, side: str) -> None:
        self._labels = (route, side)
        self._histogram = _seconds.labels(route, side)
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._statuses: dict[int, int] = {}
        self._sum = 0.0

    def add(self, status: int, seconds: float) -> None:
        """``status`` is the HTTP status, ``seconds`` the time that the request took."""
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds
        kind = status // 100
        self._statuses[kind] = self._statuses.get(kind, 0) + 1

    def flush(self) -> None:
        # The histogram has no public way to add many observations at once; a test compares this with ``observe``.
        for bucket, count in zip(self._histogram._buckets, self._buckets, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)
        for kind, count in self._statuses.items():
            _requests.labels(*self._labels, f"{kind}xx").inc(count)
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._statuses.clear()
        self._sum = 0.0


FLUSH_SECONDS = 0.25

_series: dict[tuple[str, str], Series] = {}
_waiting: set[Series] = set()
_flushing: asyncio.AbstractEventLoop | None = None


def record(route: str, side: str, status: int, seconds: float) -> None:
    """Count one answered request, on the event loop. ``route`` is a template: what is kept here grows with the routes,
    never with clients."""
    series = _series.get((route, side))
    if series is None:
        series = _series[route, side] = Series(route, side)
    if not _waiting or _flushing is None or _flushing.is_closed():
        _flush_soon(asyncio.get_running_loop())
    _waiting.add(series)
    series.add(status, seconds)


def _flush_soon(loop: asyncio.AbstractEventLoop) -> None:
    global _flushing
    _flushing = loop
    loop.call_later(FLUSH_SECONDS, flush)


def flush() -> None:
    """Hand what was counted over, so that other processes see it; by itself this happens four times a second."""
    while _waiting:
        _waiting.pop().flush()


def exposition() -> tuple[bytes, str]:
    """The text of ``/_graft/metrics`` and its content type."""
    return generate_latest(registry()), CONTENT_TYPE_LATEST


def registry() -> CollectorRegistry:
    """What to collect from: the files of all workers where they share a folder, else this process."""
    flush()
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together
