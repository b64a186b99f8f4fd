"""The recorder: whatever is counted about a route is told here, on the event loop, and becomes metrics.

Labels are route templates, sides, status classes and reasons from a short list: nothing that a client can make up.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left

from graft.figures import prometheus
from graft.figures.prometheus import BUCKETS, REGISTRY, Counter, Histogram
from graft.types import RouteKey, Side

FLUSH_SECONDS = 0.25

_seconds = Histogram(
    "graft_request_seconds",
    "Time from a request's arrival to the end of its response.",
    ("route", "side"),
    buckets=BUCKETS,
    registry=REGISTRY,
)
_requests = Counter(
    "graft_requests",
    "Requests answered, by route template, side and status class; 499: the client left before the answer.",
    ("route", "side", "status"),
    registry=REGISTRY,
)
_failures = Counter(
    "graft_native_failures",
    "Native answers to users that failed, whether the legacy side stepped in or not.",
    ("route", "reason"),
    registry=REGISTRY,
)
_trips = Counter("graft_trips", "Routes taken from the native side by themselves.", ("route",), registry=REGISTRY)
_mirrored = Counter(
    "graft_mirrored",
    "Requests for the mirror, by result: matched, different, failed, skipped.",
    ("route", "result", "reason"),
    registry=REGISTRY,
)
_mirror_seconds = Histogram(
    "graft_mirror_seconds",
    "Time that the other side took for a mirrored request.",
    ("route", "side"),
    buckets=BUCKETS,
    registry=REGISTRY,
)


class Recorder:
    """Counts for this worker. The access record tells it each answer, switchboard and mirror what they do besides.

    Answers are added to plain numbers, at a tenth of the cost of memory-mapped counters, and handed over four times a
    second. The rest is rare, and counted at once. Used by the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._unflushed: set[_Series] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def answered(self, route: str, side: str, status: int, seconds: float) -> None:
        """One request was answered. ``route`` is a template: what is kept here grows with the routes, never with
        clients."""
        series = self._series.get((route, side))
        if series is None:
            series = self._series[route, side] = _Series(route, side)
        if not self._unflushed or self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
            self._loop.call_later(FLUSH_SECONDS, self.flush)
        self._unflushed.add(series)
        series.add(status, seconds)

    def flush(self) -> None:
        """Hand the answers over, so that other processes see them."""
        while self._unflushed:
            self._unflushed.pop().flush()

    def native_failed(self, key: RouteKey, reason: str) -> None:
        """The native side failed to answer a user: ``exception``, ``status`` (5xx), ``deadline`` or ``broken off``."""
        _failures.labels(str(key), reason).inc()

    def tripped(self, key: RouteKey, reason: str) -> None:
        """The route was taken from the native side; ``reason`` is a sentence."""
        _trips.labels(str(key)).inc()

    def mirrored(self, key: RouteKey, side: Side, seconds: float) -> None:
        """The other side ran once more, for so long."""
        _mirror_seconds.labels(str(key), side).observe(seconds)

    def compared(self, key: RouteKey, matched: bool) -> None:
        """Two answers were compared."""
        _mirrored.labels(str(key), "matched" if matched else "different", "").inc()

    def failed(self, key: RouteKey, reason: str) -> None:
        """The other side gave nothing to compare: ``deadline``, ``not comparable``, ``error``."""
        _mirrored.labels(str(key), "failed", reason).inc()

    def skipped(self, key: RouteKey, reason: str) -> None:
        """A request was not mirrored: ``dropped`` (queue full), ``large``, ``stream``, ``upload``, ``unread`` (the side
        that answered left the body alone), ``cut off``."""
        _mirrored.labels(str(key), "skipped", reason).inc()


class _Series:
    """The answers of one route by one side that were not handed over yet."""

    __slots__ = ("_buckets", "_histogram", "_labels", "_statuses", "_sum")

    def __init__(self, route: str, side: str) -> None:
        self._labels = (route, side)
        self._histogram = _seconds.labels(route, side)
        self._statuses: dict[str, int] = {}
        self._start_anew()

    def add(self, status: int, seconds: float) -> None:
        if prometheus.OBSERVES_MANY:
            self._buckets[bisect_left(BUCKETS, seconds)] += 1
            self._sum += seconds
        else:
            self._histogram.observe(seconds)
        kind = "499" if status == 499 else f"{status // 100}xx"
        self._statuses[kind] = self._statuses.get(kind, 0) + 1

    def flush(self) -> None:
        if prometheus.OBSERVES_MANY:
            prometheus.observe_many(self._histogram, self._buckets, self._sum)
        for kind, count in self._statuses.items():
            _requests.labels(*self._labels, kind).inc(count)
        self._start_anew()

    def _start_anew(self) -> None:
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0
        self._statuses.clear()


RECORDER = Recorder()
"""This worker's. One for the process, as its metrics are."""
