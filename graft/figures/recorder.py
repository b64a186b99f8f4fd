"""The recorder: whatever is counted about a route is told here, on the event loop, and becomes figures and metrics.

Labels are route templates, sides, status classes and reasons from a short list: nothing that a client can make up.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter as Counts
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.registry import Collector

from graft.figures import route_metrics, shared
from graft.figures.latency import Latency, counted
from graft.figures.prometheus import REGISTRY
from graft.figures.route_figures import RouteFigures, withdrawn_on
from graft.figures.route_metrics import (
    BUCKETS,
    FAILURES,
    MIRROR_SECONDS,
    MIRRORED,
    REQUEST_SECONDS,
    REQUESTS,
    TRIPS,
    WORK,
    RouteMetrics,
)
from graft.request_record import Work
from graft.types import RouteKey, Side

FLUSH_SECONDS = 0.25
MOST_ANSWERS = 256
"""So many are noted before they are counted: one after the other that is quicker, but it holds up the event loop."""

PUBLISH_SECONDS = 1.0
"""Between two writings of the file that other workers read; longer where that takes more than a hundredth of it."""

MAY_BE_OTHERS = 0.2
"""Where other threads had more of that time than this, nobody can tell waiting from waiting for a turn."""

SHED = frozenset({"dropped", "budget", "late"})
"""Why a request was not mirrored where that says nothing about it: there was no time for it."""


class Recorder:
    """Counts for this worker. The access record tells it each answer, switchboard and mirror what they do besides.

    Answers are noted in a plain list, at a tenth of the cost of memory-mapped counters, and handed over four times a
    second; other workers see them within a second more. Used by the event loop's thread alone; the file is written by
    another. ``builds`` names the code behind a route, for the figures of switched routes.
    """

    def __init__(self) -> None:
        self.builds: dict[str, str] = {}
        self.metrics = RouteMetrics()
        self._answers: list[tuple[str, str, int, float]] = []
        self._routes: dict[str, _Route] = {}
        self._series: dict[tuple[str, str], _Series] = {}
        self._mirror_times: dict[tuple[RouteKey, Side], _Times] = {}
        self._results: dict[tuple[RouteKey, str, str], _Results] = {}
        self._unflushed: set[_Unflushed] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._publishing: asyncio.AbstractEventLoop | None = None
        self._pause = PUBLISH_SECONDS

    def answered(self, route: str, side: str, status: int, seconds: float) -> None:
        """One request was answered. ``route`` is a template: what is kept here grows with the routes, never with
        clients."""
        answers = self._answers
        if not answers or self._loop is None or self._loop.is_closed():
            self._flush_soon()
        answers.append((route, side, status, seconds))
        if len(answers) >= MOST_ANSWERS:
            self._count_answers()

    def worked(self, route: str, work: Work) -> None:
        """What the Flask app's thread did for one of the sampled requests."""
        waited = work.wall - work.cpu
        if work.others > MAY_BE_OTHERS * work.wall:
            self.metrics.count(WORK, route, "unclear", number=work.wall)
        else:
            self.metrics.count(WORK, route, "cpu", number=work.cpu)
            self.metrics.count(WORK, route, "waiting", number=max(waited, 0.0))

    def flush(self) -> None:
        """Count the answers, and hand them over as metrics."""
        self._count_answers()
        if self._unflushed:
            self._changed()
        while self._unflushed:
            self._unflushed.pop().flush()

    def figures(self) -> dict[str, RouteFigures]:
        """What this worker counted. The caller's."""
        self.flush()
        return {name: route.figures(self.builds.get(name, "")) for name, route in self._routes.items()}

    def publish(self) -> None:
        """Write what was counted where other processes read it, now. Blocks: for the end of a worker."""
        shared.write(self.figures(), self.metrics.packed())

    def native_failed(self, key: RouteKey, reason: str) -> None:
        """The native side failed to answer a user: ``exception``, ``status`` (5xx), ``deadline`` or ``broken off``."""
        self.metrics.count(FAILURES, str(key), reason)
        self._route(str(key)).native_failed += 1
        self._changed()

    def tripped(self, key: RouteKey, reason: str) -> None:
        """The route was taken from the native side; ``reason`` is a sentence."""
        self.metrics.count(TRIPS, str(key))
        self._changed()

    def mirrored(self, key: RouteKey, side: Side, seconds: float) -> None:
        """The other side ran once more, for so long."""
        times = self._mirror_times.get((key, side))
        if times is None:
            times = self._mirror_times[key, side] = _Times(self._route(str(key)), side, MIRROR_SECONDS, self.metrics)
        self._unflushed_of(times)
        times.seconds.append(seconds)

    def compared(self, key: RouteKey, matched: bool) -> None:
        """Two answers were compared."""
        self._mirror_result(key, "matched" if matched else "different", "")

    def withdrawn(self, key: RouteKey, number: int, rung: str) -> None:
        """So many that were counted as different on the rung of that name have turned out to be noise: they matched."""
        if number:
            self._mirror_result(key, "withdrawn", rung, number)

    def untold(self, key: RouteKey) -> None:
        """Two answers differ, and nobody can tell whether that is noise: users never repeat a request."""
        self._mirror_result(key, "untold", "")

    def failed(self, key: RouteKey, reason: str) -> None:
        """The other side gave nothing to compare: ``deadline``, ``not comparable``, ``error``."""
        self._mirror_result(key, "failed", reason)

    def skipped(self, key: RouteKey, reason: str, number: int = 1) -> None:
        """So many requests were not mirrored: ``budget`` (over the mirror budget), ``late`` (without one, it waited
        for its turn for too long), ``dropped`` (queue full), ``large``,
        ``stream``, ``upload``, ``unread`` (the side that answered left the body alone), ``cut off``."""
        self._mirror_result(key, "skipped", reason, number)

    def _mirror_result(self, key: RouteKey, result: str, reason: str, number: int = 1) -> None:
        results = self._results.get((key, result, reason))
        if results is None:
            results = self._results[key, result, reason] = _Results(self._route(str(key)), result, reason, self.metrics)
        self._unflushed_of(results)
        results.number += number

    def _unflushed_of(self, series: _Unflushed) -> None:
        if not self._unflushed or self._loop is None or self._loop.is_closed():
            self._flush_soon()
        self._unflushed.add(series)

    def _count_answers(self) -> None:
        answers, self._answers = self._answers, []
        for route, side, status, seconds in answers:
            series = self._series.get((route, side))
            if series is None:
                series = self._series[route, side] = _Series(self._route(route), Side(side), self.metrics)
            series.add(status, seconds)
            self._unflushed.add(series)

    def _flush_soon(self) -> None:
        """What is told outside of a gateway is flushed with the next figures."""
        try:
            self._loop = asyncio.get_running_loop()
            self._loop.call_later(FLUSH_SECONDS, self.flush)
        except RuntimeError:
            self._loop = None

    def _route(self, name: str) -> _Route:
        route = self._routes.get(name)
        if route is None:
            route = self._routes[name] = _Route(name)
        return route

    def _changed(self) -> None:
        """See that it is written soon. Of a loop that has ended, nothing is waited for."""
        if self._publishing is not None and not self._publishing.is_closed():
            return
        try:
            self._publishing = asyncio.get_running_loop()
        except RuntimeError:  # told outside of a gateway
            return
        self._publishing.call_later(self._pause, self._publish)

    def _publish(self) -> None:
        started = time.perf_counter()
        figures = self.figures()
        loop, self._publishing = self._publishing, None  # only now: what was flushed just now is in it
        if loop is not None and not loop.is_closed():
            loop.run_in_executor(None, shared.write, figures, self.metrics.packed())
        self._pause = max(PUBLISH_SECONDS, 100 * (time.perf_counter() - started))


class _Route:
    """All that was counted for one route."""

    __slots__ = ("bins", "mirrored", "name", "native_failed", "statuses")

    def __init__(self, name: str) -> None:
        self.name = name
        self.native_failed = 0
        self.bins: dict[Side, Counts[int]] = {side: Counts() for side in Side}
        self.mirrored: Counts[str] = Counts()
        self.statuses: dict[Side, Counts[str]] = {side: Counts() for side in Side}

    def figures(self, build: str) -> RouteFigures:
        return RouteFigures(
            {side: counts.total() for side, counts in self.statuses.items()},
            self.native_failed,
            {side: Latency(dict(bins)) for side, bins in self.bins.items()},
            dict(self.mirrored),
            {side: dict(counts) for side, counts in self.statuses.items()},
            build,
        )


class _Unflushed(Protocol):
    """What was told of one thing and is not counted yet."""

    def flush(self) -> None: ...


class _Times:
    """How long the answers of one route by one side took."""

    __slots__ = ("_family", "_metrics", "_route", "_side", "seconds")

    def __init__(self, route: _Route, side: Side, family: str, metrics: RouteMetrics) -> None:
        self._route = route
        self._side = side
        self._family = family
        self._metrics = metrics
        self.seconds: list[float] = []

    def flush(self) -> None:
        seconds, self.seconds = self.seconds, []
        self._route.bins[self._side].update(counted(seconds))
        seconds.sort()
        within = [bisect_right(seconds, bound) for bound in BUCKETS]
        buckets: list[float] = [high - low for low, high in zip([0, *within], [*within, len(seconds)], strict=True)]
        self._metrics.observe(self._family, self._route.name, self._side.value, buckets, sum(seconds))


class _Series:
    """The answers of one route by one side to users."""

    __slots__ = ("_metrics", "_route", "_side", "_statuses", "_times")

    def __init__(self, route: _Route, side: Side, metrics: RouteMetrics) -> None:
        self._route = route
        self._side = side
        self._metrics = metrics
        self._times = _Times(route, side, REQUEST_SECONDS, metrics)
        self._statuses: dict[str, int] = {}

    def add(self, status: int, seconds: float) -> None:
        self._times.seconds.append(seconds)
        kind = "499" if status == 499 else f"{status // 100}xx"
        self._statuses[kind] = self._statuses.get(kind, 0) + 1

    def flush(self) -> None:
        self._times.flush()
        for kind, count in self._statuses.items():
            self._route.statuses[self._side][kind] += count
            self._metrics.count(REQUESTS, self._route.name, self._side.value, kind, number=count)
        self._statuses.clear()


class _Results:
    """What became of mirrored requests of one route, with one result for one reason."""

    __slots__ = ("_labels", "_metrics", "_name", "_route", "number")

    def __init__(self, route: _Route, result: str, reason: str, metrics: RouteMetrics) -> None:
        self._route = route
        self._name = "shed" if reason in SHED else result
        self._labels = (result, reason)
        if result == "withdrawn":
            self._name, self._labels = withdrawn_on(reason), (result, "")
        self._metrics = metrics
        self.number = 0

    def flush(self) -> None:
        self._route.mirrored[self._name] += self.number
        self._metrics.count(MIRRORED, self._route.name, *self._labels, number=self.number)
        if self._name == "different":  # from 0: a counter that Prometheus first sees at 40 has not increased for it
            self._metrics.count(MIRRORED, self._route.name, "withdrawn", "", number=0)
        self.number = 0


RECORDER = Recorder()
"""This worker's. One for the process, as its metrics are."""


class _Collector(Collector):
    """What this process counted, for its registry."""

    def collect(self) -> Iterator[Metric]:
        return route_metrics.families(RECORDER.metrics)


REGISTRY.register(_Collector())
