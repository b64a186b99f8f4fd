"""What failed natively on this host of late, of all its workers together: a fleet adds up what its hosts have."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from graft.errors import SwitchesError
from graft.figures.recorder import RECORDER, Recorder
from graft.switching.trip_counts import CELLS, FIRST, NUMBERS, TRIPPED, WIDTH, TripCounts
from graft.types import RouteKey

Cell = tuple[int, int, int]
"""A twentieth of a route's window: how many of them it is old, answers, failures."""

log = logging.getLogger("graft")


class HostFailures:
    """Used by the event loop's thread of the worker that asks for its host."""

    def __init__(
        self,
        counts: TripCounts,
        record_trip: Callable[[RouteKey, str], object],
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = counts
        self._record_trip = record_trip
        self._recorder = recorder or RECORDER
        self._clock = clock

    def number(self) -> int:
        """Another one after each failure."""
        return self._counts.failures()

    def failing(self) -> dict[RouteKey, list[Cell]]:
        """The routes that have not tripped and of which something failed within their window, with what was counted."""
        found = {key: self._cells(key) for key, row in self._counts.by_key.items() if not row.numbers[TRIPPED]}
        return {key: cells for key, cells in found.items() if any(failures for _, _, failures in cells)}

    def _cells(self, key: RouteKey) -> list[Cell]:
        row = self._counts.by_key[key]
        width = row.numbers[WIDTH] / 1e6
        newest = int(self._clock() / width)
        sums: dict[int, tuple[int, int]] = {}
        for numbers, since in [(row.numbers, 0.0), *self._counts.others(row)]:
            oldest = max(newest - CELLS + 1, since / width)
            for index in range(FIRST, NUMBERS, 3):
                if numbers[index] >= oldest and numbers[index + 1]:
                    answers, failures = sums.get(numbers[index], (0, 0))
                    sums[numbers[index]] = answers + numbers[index + 1], failures + numbers[index + 2]
        return [(max(0, newest - number), *sums[number]) for number in sorted(sums, reverse=True)]

    async def trip(self, key: RouteKey, reason: str) -> None:
        """Take ``key`` from the native side here at once, and wherever its switches are followed."""
        row = self._counts.by_key[key]
        if row.numbers[TRIPPED]:
            return  # a worker was quicker
        row.tripped_here = True
        self._counts.trip(row)
        log.error("%s was taken from the native side: %s. The legacy side answers now.", key, reason)
        self._recorder.tripped(key, reason)
        try:
            await asyncio.to_thread(self._record_trip, key, reason)
        except SwitchesError as error:
            log.error("The trip of %s holds in the workers that run now, until they start again: %s", key, error)
