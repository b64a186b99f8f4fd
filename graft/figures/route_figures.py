"""The figures of one route, all workers together: what ``graft routes``, ``graft promote`` and the dashboard go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter

from graft.figures.latency import Latency, NotFigures, added, less
from graft.types import Side

__all__ = ["Latency", "NotFigures", "RouteFigures"]


_WITHDRAWN = "withdrawn "


def withdrawn_on(rung: str) -> str:
    """The name in ``RouteFigures.mirrored`` of what was withdrawn on the rung of that name."""
    return _WITHDRAWN + rung


@dataclass(slots=True)
class RouteFigures:
    """Figures of one route since the master process started, of one build or of all of them."""

    served: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    native_failed: int = 0
    """native answers that failed, also where the user got the legacy side's"""
    latency: dict[Side, Latency] = field(default_factory=lambda: dict.fromkeys(Side, Latency()))
    """answers to users and mirrored runs together"""
    mirrored: dict[str, int] = field(default_factory=dict)
    """requests for the mirror, by result: matched, different, untold (which of the two can't be told), failed, skipped;
    and shed, which were not tried, as there was no time for them. ``withdrawn_on(rung)`` are those of different that
    turned out to be noise afterwards"""
    statuses: dict[Side, dict[str, int]] = field(default_factory=lambda: {side: {} for side in Side})
    """answers to users by status class: ``2xx``; 499 is ``499``"""
    build: str = ""
    """the code that they were counted for; empty for any"""

    def __post_init__(self) -> None:
        if not self.served.keys() == self.latency.keys() == self.statuses.keys() == set(Side):
            raise NotFigures

    @property
    def requests(self) -> int:
        return sum(self.served.values())

    @property
    def matched(self) -> int:
        return self.compared - self.different

    @property
    def different(self) -> int:
        withdrawn = sum(count for name, count in self.mirrored.items() if name.startswith(_WITHDRAWN))
        return max(self.mirrored.get("different", 0) - withdrawn, 0)

    def different_on(self, rung: str) -> int:
        """Of figures since the beginning of a rung: what was withdrawn meanwhile may be of the one before."""
        return max(self.mirrored.get("different", 0) - self.mirrored.get(withdrawn_on(rung), 0), 0)

    @property
    def compared(self) -> int:
        return self.mirrored.get("matched", 0) + self.mirrored.get("different", 0)

    @property
    def parity(self) -> float | None:
        """Percent of the compared requests that matched; None before the first one."""
        return 100 * self.matched / self.compared if self.compared else None

    def __add__(self, other: RouteFigures) -> RouteFigures:
        return total((self, other))

    def since(self, earlier: RouteFigures) -> RouteFigures | None:
        """What was counted after ``earlier``. None where that had counted more, or for another build: then it is not
        earlier, the gateway was started again since, or it was other code."""
        if self.build != earlier.build:
            return None
        try:
            return RouteFigures(
                {side: _minus(self.served[side], earlier.served[side]) for side in Side},
                _minus(self.native_failed, earlier.native_failed),
                {side: self.latency[side].since(earlier.latency[side]) for side in Side},
                less(self.mirrored, earlier.mirrored),
                {side: less(self.statuses[side], earlier.statuses[side]) for side in Side},
                self.build,
            )
        except NotFigures:
            return None

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


def total(figures: Iterable[RouteFigures]) -> RouteFigures:
    """Of workers, or of the names of one route, added up. The build is there where all that have one have the same."""
    one, *others = figures
    if not others:
        return one
    every = [one, *others]
    builds = {each.build for each in every if each.build}
    return RouteFigures(
        added(each.served for each in every),
        sum(each.native_failed for each in every),
        {side: Latency(added(each.latency[side].bins for each in every)) for side in Side},
        added(each.mirrored for each in every),
        {side: added(each.statuses[side] for each in every) for side in Side},
        builds.pop() if len(builds) == 1 else "",
    )


def _minus(now: int, before: int) -> int:
    if now < before:
        raise NotFigures
    return now - before


_ADAPTER = TypeAdapter(RouteFigures)
