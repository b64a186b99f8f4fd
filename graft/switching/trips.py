"""Trips: too many failures in a sliding window."""

from __future__ import annotations

from collections import deque

from graft.operations.switch import Trip

_SLOTS = 20


class Window:
    """Counts answers and failures of the last ``trip.window`` seconds, a twentieth of them at a time.

    ``now`` is in seconds of any steady clock.
    """

    __slots__ = ("_last", "_slots", "_trip", "_width")

    def __init__(self, trip: Trip) -> None:
        self._trip = trip
        self._width = trip.window / _SLOTS
        self._last = _Slot(0.0)
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def succeeded(self, now: float) -> None:
        if now >= self._last.until:
            self._turn(now)
        self._last.answers += 1

    def failed(self, now: float) -> str | None:
        """The reason to trip, if this is one failure too many."""
        self.succeeded(now)
        self._last.failures += 1
        recent = [slot for slot in self._slots if slot.until > now - self._trip.window]
        answers, failures = sum(slot.answers for slot in recent), sum(slot.failures for slot in recent)
        if failures < self._trip.least or failures * 100 <= self._trip.percent * answers:
            return None
        return f"{failures} of {answers} native answers failed within {self._trip.window:g} s"

    def _turn(self, now: float) -> None:
        self._last = _Slot(now + self._width)
        self._slots.append(self._last)


class _Slot:
    __slots__ = ("answers", "failures", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.answers = 0
        self.failures = 0
