"""Outliers: one host of many whose native side fails, which the sum of all would hide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graft.figures.route_figures import RouteFigures
from graft.types import Side

LEAST_FAILURES = 5
TIMES_MORE = 3.0
"""What a host fails more than so many times as often as the others, and by chance in one case of a thousand."""

CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Outlier:
    """``percent`` of ``host``'s native answers of ``route`` failed, of the other hosts' ``others``."""

    host: str
    route: str
    failed: int
    percent: float
    others: float

    def as_data(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "route": self.route,
            "failed": self.failed,
            "percent": round(self.percent, 2),
            "others": round(self.others, 2),
        }

    def __str__(self) -> str:
        return (
            f"{self.host}: {self.percent:.1f} % of its native answers of {self.route} failed, "
            f"{self.others:.1f} % of the other hosts'"
        )


def outliers(hosts: Sequence[tuple[str, Mapping[str, RouteFigures]]]) -> list[Outlier]:
    """The worst first. Two servers of one host count as two."""
    found = list(_found(hosts)) if len(hosts) > 1 else []
    return sorted(found, key=lambda each: -each.percent)


def _found(hosts: Sequence[tuple[str, Mapping[str, RouteFigures]]]) -> Iterator[Outlier]:
    for route in sorted({route for _, figures in hosts for route in figures}):
        counted = [(host, *_answers(figures[route])) for host, figures in hosts if route in figures]
        failures = sum(failed for _, failed, _ in counted)
        answers = sum(answered for _, _, answered in counted)
        for host, failed, answered in counted:
            others = answers - answered
            if failed < LEAST_FAILURES or not others:
                continue
            rate = (failures - failed) / others
            if failed / answered > TIMES_MORE * rate and _chance(failed, answered, max(rate, 1 / others)) < CHANCE:
                yield Outlier(host, route, failed, 100 * failed / answered, 100 * rate)


def _answers(figures: RouteFigures) -> tuple[int, int]:
    """Failed native answers, and all that the native side was asked for."""
    failed = figures.native_failed
    asked = figures.served[Side.NATIVE] + figures.served[Side.FALLBACK]
    return failed, max(asked, failed, 1)


def _chance(failed: int, answered: int, rate: float) -> float:
    """At most how likely so many failures are at that rate (Chernoff's bound, which needs no tables)."""
    share = failed / answered
    if share <= rate or rate >= 1:
        return 1.0
    rest = (1 - share) * math.log((1 - share) / (1 - rate)) if share < 1 else 0.0
    return math.exp(-answered * (share * math.log(share / rate) + rest))
