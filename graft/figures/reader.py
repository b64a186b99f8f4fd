"""The reader: what all workers counted, as figures of routes and as Prometheus has it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from graft.figures.prometheus import REGISTRY, merged
from graft.figures.recorder import RECORDER
from graft.figures.route_figures import Latency, RouteFigures
from graft.types import Side

Read = Callable[[CollectorRegistry], Mapping[str, RouteFigures]]

REST = 10
"""What was read counts for so many times as long as reading took. Reading is plain Python, so it takes turns with the
requests of this worker: this way they keep nine tenths of the time, whoever asks."""

CHEAP_SECONDS = 0.02
"""What took no longer is read anew each time: small apps see the figures of now."""

log = logging.getLogger("graft.control")


def current() -> CollectorRegistry:
    """What to collect from: all workers, where they share a folder. Called on the loop: it flushes the recorder."""
    RECORDER.flush()
    return merged()


def exposition() -> tuple[bytes, str]:
    """The text of ``/_graft/metrics`` and its content type. Called on the loop."""
    try:
        return generate_latest(current()), CONTENT_TYPE_LATEST
    except OSError:  # the files went away just now
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def read(registry: CollectorRegistry) -> dict[str, RouteFigures]:
    """``{"GET /path": figures}`` from ``registry``; a route that was never asked for is not in it."""
    routes: defaultdict[str, RouteFigures] = defaultdict(RouteFigures)
    buckets: defaultdict[tuple[str, Side], dict[float, float]] = defaultdict(dict)
    for family in registry.collect():
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "graft_requests_total":
                routes[labels["route"]].served[Side(labels["side"])] += int(sample.value)
            elif sample.name in ("graft_request_seconds_bucket", "graft_mirror_seconds_bucket"):
                counts = buckets[labels["route"], Side(labels["side"])]
                bound = float(labels["le"])
                counts[bound] = counts.get(bound, 0.0) + sample.value
            elif sample.name == "graft_native_failures_total":
                routes[labels["route"]].native_failed += int(sample.value)
            elif sample.name == "graft_mirrored_total":
                mirrored = routes[labels["route"]].mirrored
                mirrored[labels["result"]] = mirrored.get(labels["result"], 0) + int(sample.value)
    for (name, side), counts in buckets.items():
        routes[name].latency[side] = _latency(counts)
    return dict(routes)


def _latency(counts: Mapping[float, float]) -> Latency:
    """From ``{upper bound: count}``; the last bound, infinity, is left out, as JSON has no word for it."""
    bounds = sorted(counts)
    return Latency(tuple(bounds[:-1]), tuple(counts[bound] for bound in bounds))


class Reader:
    """Reads the workers' files in a thread, for one caller at a time. One for a worker."""

    def __init__(self, read: Read = read) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._kept: Mapping[str, RouteFigures] = {}

    async def now(self) -> Mapping[str, RouteFigures]:
        """``{"GET /path": figures}``. Where they can't be read, the last ones: a share can be set without figures."""
        async with self._lock:
            started = time.monotonic()
            if started >= self._until:
                await self._renew()
                took = time.monotonic() - started
                self._until = started + took + (REST * took if took > CHEAP_SECONDS else 0.0)
            return self._kept

    async def _renew(self) -> None:
        try:
            registry = current()  # hands over what this worker holds, which its own loop has to do
            self._kept = await asyncio.to_thread(self._read, registry)
        except (OSError, ValueError) as error:
            log.warning("the workers' figures can't be read: %s", error)
