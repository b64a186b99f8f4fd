"""The reader: what all workers counted, as figures of routes and as Prometheus has it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from graft.figures import folders, route_metrics, shared
from graft.figures.prometheus import REGISTRY, merged
from graft.figures.recorder import RECORDER
from graft.figures.route_figures import RouteFigures, total
from graft.figures.route_metrics import RouteMetrics

Figures = Mapping[str, RouteFigures]
"""``{"GET /path": figures}``; a route that was never asked for is not in it."""

Read = Callable[[Figures, Mapping[str, str]], tuple[Figures, Figures]]

REST = 10
"""What was read counts for so many times as long as reading took. Reading is plain Python, so it takes turns with the
requests of this worker: this way they keep nine tenths of the time, whoever asks."""

CHEAP_SECONDS = 0.02
"""What took no longer is read anew each time: small apps see the figures of now."""

log = logging.getLogger("graft.control")


async def exposition() -> tuple[bytes, str]:
    """The text of ``/_graft/metrics`` and its content type. Called on the loop, which goes on meanwhile."""
    RECORDER.flush()
    return await asyncio.to_thread(_exposition, RECORDER.metrics.packed())


async def metrics() -> RouteMetrics:
    """The metrics of routes, of all workers. Called on the loop, which goes on meanwhile."""
    RECORDER.flush()
    return await asyncio.to_thread(_metrics, RECORDER.metrics.packed())


def _metrics(own: bytes) -> RouteMetrics:
    """(a thread)"""
    folder = folders.shared
    others = shared.read_metrics(folder) if folder is not None and folder.is_dir() else ()
    return route_metrics.total([*others, RouteMetrics.of(own)])


def _exposition(own: bytes) -> tuple[bytes, str]:
    """(a thread)"""
    try:
        registry, folder = merged(), folders.shared
        if registry is not REGISTRY and folder is not None:
            return generate_latest(registry) + route_metrics.text(_metrics(own)).encode(), CONTENT_TYPE_LATEST
    except OSError:  # the files went away just now
        pass
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def of_folder(folder: Path) -> Figures:
    """What the processes counted that share or shared ``folder``, for the code that the newest of them ran. Raises
    OSError. (any thread)"""
    workers = list(shared.read(folder))
    return _both(workers, {route: each.build for worker in workers for route, each in worker.items()})[0]


def read(own: Figures, builds: Mapping[str, str]) -> tuple[Figures, Figures]:
    """What all workers counted, ``own`` being this one's. First what people see: every answer, but of what was compared
    and how long it took, that of ``builds``, the code that this worker runs; then all figures of that code alone.
    Raises OSError. (any thread)"""
    folder = folders.shared
    others = shared.read(folder) if folder is not None and folder.is_dir() else ()
    return _both([*others, own], builds)


def _both(workers: Sequence[Figures], builds: Mapping[str, str]) -> tuple[Figures, Figures]:
    together = _total(workers)
    mixed = {route for one in workers for route, each in one.items() if each.build != builds.get(route, "")}
    same = (
        {route: one[route] for route in mixed & one.keys() if one[route].build == builds.get(route, "")}
        for one in workers
    )
    evidence = {route: RouteFigures(build=build) for route, build in builds.items()}
    evidence.update((route, each) for route, each in together.items() if route not in mixed)
    evidence.update(_total(same))
    shown = {**evidence, **together}
    for route in mixed & evidence.keys():
        of_all, of_build = together[route], evidence[route]
        shown[route] = replace(of_build, served=of_all.served, statuses=of_all.statuses)
    return shown, evidence


def _total(workers: Iterable[Figures]) -> dict[str, RouteFigures]:
    by_route: dict[str, list[RouteFigures]] = {}
    for worker in workers:
        for route, figures in worker.items():
            by_route.setdefault(route, []).append(figures)
    return {route: total(figures) for route, figures in by_route.items()}


class Reader:
    """Reads the workers' files in a thread, for one caller at a time. One for a worker."""

    def __init__(self, read: Read = read) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._kept: tuple[Figures, Figures] = {}, {}

    async def now(self) -> Figures:
        """The figures that people see. Where they can't be read, the last ones: a share can be set without figures."""
        return (await self._fresh())[0]

    async def evidence(self) -> Figures:
        """The figures of the code that this worker runs: what a promotion goes by."""
        return (await self._fresh())[1]

    async def _fresh(self) -> tuple[Figures, Figures]:
        async with self._lock:
            started = time.monotonic()
            if started >= self._until:
                await self._renew()
                took = time.monotonic() - started
                self._until = started + took + (REST * took if took > CHEAP_SECONDS else 0.0)
            return self._kept

    async def _renew(self) -> None:
        try:
            own = RECORDER.figures()  # on the loop, which counts
            self._kept = await asyncio.to_thread(self._read, own, RECORDER.builds)
        except (OSError, ValueError) as error:
            log.warning("the workers' figures can't be read: %s", error)
