"""Trips: too many failures in a sliding window."""

from __future__ import annotations

from graft.operations.switch import Trip
from graft.switching.trip_counts import CELLS, FIRST, TRIPPED, Row, TripCounts, counted

BROKEN_PERCENT = 50.0
"""A worker that fails more than so often is broken by itself, and trips the route whatever the others count."""


class Window:
    """Counts answers and failures of the last ``trip.window`` seconds, a twentieth of them at a time, where all workers
    of the server see them.

    ``now`` is in seconds of the machine's monotonic clock. ``generation`` names the state of the route's switch: only
    who goes by the same one is counted with.
    """

    __slots__ = ("_answers", "_counts", "_row", "_trip", "_until", "_width")

    def __init__(
        self, trip: Trip, row: Row | None = None, counts: TripCounts | None = None, generation: int = 1
    ) -> None:
        self._trip = trip
        self._row = row or Row()
        self._counts = counts
        self._width = trip.window / CELLS
        self._until = 0.0
        self._answers = FIRST + 1
        self._row.begin(generation, self._width)

    @property
    def tripped(self) -> bool:
        """Whether a worker has tripped the route as its switch is now."""
        return self._row.numbers[TRIPPED] != 0

    def succeeded(self, now: float) -> None:
        if now >= self._until:
            self._turn(now)
        self._row.numbers[self._answers] += 1

    def failed(self, now: float) -> str | None:
        """The reason to trip, if this is one failure too many."""
        self.succeeded(now)
        if self._counts is not None:
            self._counts.count_failure()
        numbers = self._row.numbers
        numbers[self._answers + 1] += 1
        newest = numbers[self._answers - 1]
        answers, failures = own = counted(numbers, newest)
        if self._counts is not None:
            for others, since in self._counts.others(self._row):
                answers_there, failures_there = counted(others, newest, since)
                answers += answers_there
                failures += failures_there
        if self._is_too_many(answers, failures, self._trip.percent):
            return f"{failures} of {answers} native answers failed within {self._trip.window:g} s"
        if self._is_too_many(*own, max(self._trip.percent, BROKEN_PERCENT)):
            return f"{own[1]} of {own[0]} native answers of one worker failed within {self._trip.window:g} s"
        return None

    def trip(self) -> None:
        """Take the route from the native side in all workers."""
        if self._counts is not None:
            self._counts.trip(self._row)

    def _is_too_many(self, answers: int, failures: int, percent: float) -> bool:
        return failures >= self._trip.least and failures * 100 > percent * answers

    def _turn(self, now: float) -> None:
        number = int(now / self._width)
        index = FIRST + 3 * (number % CELLS)
        numbers = self._row.numbers
        if numbers[index] != number:
            numbers[index + 1] = numbers[index + 2] = 0
            numbers[index] = number
        self._until = (number + 1) * self._width
        self._answers = index + 1
