"""Trips: too many failures in a sliding window."""

from __future__ import annotations

from collections import deque

from graft.switching.switches import Trip

_SLOTS = 20


class Window:
    """Counts answers and failures of the last ``trip.window`` seconds, a twentieth of them at a time."""

    __slots__ = ("_slots", "_trip", "_width")

    def __init__(self, trip: Trip) -> None:
        self._trip = trip
        self._width = trip.window / _SLOTS
        self._slots: deque[list[int]] = deque(maxlen=_SLOTS)

    def count(self, now: float, failed: bool) -> str | None:
        """Count one answer at ``now`` (seconds of any steady clock); the reason to trip, if there is one."""
        slot = int(now / self._width)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0, 0])
        last = self._slots[-1]
        last[1] += 1
        if not failed:
            return None
        last[2] += 1
        return self._verdict(slot)

    def _verdict(self, now: int) -> str | None:
        recent = [each for each in self._slots if each[0] > now - _SLOTS]
        answers, failures = sum(each[1] for each in recent), sum(each[2] for each in recent)
        if failures < self._trip.least or failures * 100 <= self._trip.percent * answers:
            return None
        return f"{failures} of {answers} native answers failed within {self._trip.window:g} s"
