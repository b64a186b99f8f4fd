"""The figures of one route, all workers together: what ``graft routes``, ``graft promote`` and the dashboard go by."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter

from graft.types import Side

Combine = Callable[[Any, Any], Any]


class NotFigures(ValueError):
    """Numbers that don't belong together, or with which there would be fewer than none. No person meets it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, from a histogram: how many were within each of ``bounds`` (seconds), and then how many in
    all. Raises NotFigures for counts that don't belong to the bounds."""

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + bool(self.bounds):
            raise NotFigures

    def quantile_ms(self, q: float) -> float | None:
        """The latency in milliseconds that a share ``q`` (0 to 1) of answers kept; None when there were none.

        Straight between the bounds of a bucket, as Prometheus's ``histogram_quantile`` has it.
        """
        if not self.counts or not self.counts[-1]:
            return None
        rank = q * self.counts[-1]
        low = below = 0.0
        for high, within in zip(self.bounds, self.counts, strict=False):
            if within >= rank:
                low += (high - low) * (rank - below) / (within - below or 1)
                break
            low, below = high, within
        return round(low * 1000, 3)

    def combined(self, other: Latency, combine: Combine) -> Latency:
        """Raises NotFigures when the other has other bounds."""
        if not self.counts and not other.counts:
            return self
        bounds = self.bounds or other.bounds
        nothing = (0,) * (len(bounds) + 1)
        if bounds != (other.bounds or bounds):
            raise NotFigures
        return Latency(bounds, tuple(map(combine, self.counts or nothing, other.counts or nothing)))


@dataclass(slots=True)
class RouteFigures:
    """Figures of one route since the metrics were last emptied, which is when the master process starts."""

    served: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    native_failed: int = 0
    """native answers that failed, also where the user got the legacy side's"""
    latency: dict[Side, Latency] = field(default_factory=lambda: dict.fromkeys(Side, Latency()))
    """answers to users and mirrored runs together"""
    mirrored: dict[str, int] = field(default_factory=dict)
    """requests for the mirror, by result: matched, different, failed, skipped"""

    def __post_init__(self) -> None:
        if not self.served.keys() == self.latency.keys() == set(Side):
            raise NotFigures

    @property
    def requests(self) -> int:
        return sum(self.served.values())

    @property
    def matched(self) -> int:
        return self.mirrored.get("matched", 0)

    @property
    def different(self) -> int:
        return self.mirrored.get("different", 0)

    @property
    def compared(self) -> int:
        return self.matched + self.different

    @property
    def parity(self) -> float | None:
        """Percent of the compared requests that matched; None before the first one."""
        return 100 * self.matched / self.compared if self.compared else None

    def __add__(self, other: RouteFigures) -> RouteFigures:
        return self._combined(other, operator.add)

    def since(self, earlier: RouteFigures) -> RouteFigures | None:
        """What was counted after ``earlier``. None where that had counted more: then it is not earlier, or the gateway
        was started again since."""
        try:
            return self._combined(earlier, _less)
        except NotFigures:
            return None

    def _combined(self, other: RouteFigures, combine: Combine) -> RouteFigures:
        return RouteFigures(
            {side: combine(self.served[side], other.served[side]) for side in Side},
            combine(self.native_failed, other.native_failed),
            {side: self.latency[side].combined(other.latency[side], combine) for side in Side},
            {
                result: combine(self.mirrored.get(result, 0), other.mirrored.get(result, 0))
                for result in {**self.mirrored, **other.mirrored}
            },
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON, which ``of_data`` reads again."""
        data: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return data

    @staticmethod
    def of_data(data: Any) -> RouteFigures:
        """Raises ValueError for what ``as_data`` can't have made."""
        if not isinstance(data, dict) or data.keys() != {each.name for each in fields(RouteFigures)}:
            raise NotFigures
        return _ADAPTER.validate_python(data)


def _less(now: float, before: float) -> float:
    if now < before:
        raise NotFigures
    return now - before


_ADAPTER = TypeAdapter(RouteFigures)
