"""Figures: what all workers counted, for as many dashboards as there are, at a bounded price."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from graft.figures import metrics, statistics
from graft.figures.statistics import RouteStatistics

Read = Callable[[CollectorRegistry], Mapping[str, RouteStatistics]]

REST = 10
"""What was read counts for so many times as long as reading took. Reading is plain Python, so it takes turns with the
requests of this worker: this way they keep nine tenths of the time, whoever asks."""

CHEAP_SECONDS = 0.02
"""What took no longer is read anew each time: small apps see the figures of now."""

log = logging.getLogger("graft.control")


class Figures:
    """Reads the workers' files in a thread, for one caller at a time. One for a worker."""

    def __init__(self, read: Read = statistics.read) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._kept: Mapping[str, RouteStatistics] = {}

    async def now(self) -> Mapping[str, RouteStatistics]:
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
            registry = metrics.registry()  # hands over what this worker holds, which its own loop has to do
            self._kept = await asyncio.to_thread(self._read, registry)
        except (OSError, ValueError) as error:
            log.warning("the workers' figures can't be read: %s", error)
