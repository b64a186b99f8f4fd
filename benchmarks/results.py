"""What came of the works: goals with the values that were found, and the medians that they were computed from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any


class BenchmarkError(Exception):
    """A work could not be measured; the text says why, and where there is one, the mend."""


@dataclass(frozen=True)
class Goal:
    """``value`` is to be at least ``limit``, or at most. ``unit`` is ``x`` for a ratio to the same figure of a peer.

    ``what`` is measured ``against`` a peer, or against nobody where that is empty.
    """

    what: str
    against: str
    value: float
    limit: float
    at_most: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    @property
    def label(self) -> str:
        return f"{self.what} / {self.against}" if self.against else self.what

    @property
    def shown(self) -> str:
        return self._with_unit(_rounded(self.value))

    @property
    def wanted(self) -> str:
        return f"{self.bound} {self.shown_limit}"

    @property
    def bound(self) -> str:
        return "at most" if self.at_most else "at least"

    @property
    def shown_limit(self) -> str:
        return self._with_unit(f"{self.limit:g}")

    def _with_unit(self, number: str) -> str:
        return f"{number}x" if self.unit == "x" else f"{number} {self.unit}"


def _rounded(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Result:
    """What came of one work. ``medians``: contender -> figure -> median over the rounds. ``notes`` explain it."""

    work: str
    title: str
    goals: list[Goal]
    medians: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """One run of all works. ``machine`` as ``machine.describe`` gives it; ``failed``: work -> why it has no result."""

    machine: dict[str, Any]
    results: list[Result]
    failed: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        results = [
            {**asdict(result), "goals": [{**asdict(goal), "met": goal.met} for goal in result.goals]}
            for result in self.results
        ]
        return {"machine": self.machine, "results": results, "failed": self.failed}

    def renewed(self, later: Report) -> Report:
        """This report, with the works of a ``later`` run in the place of the same ones, which say so in a note. New
        works stand behind the one that they follow in that run."""
        told = f"measured again on {later.machine['date']}, at commit {later.machine['commit'] or 'unknown'}"
        fresh = {each.work: replace(each, notes=[*each.notes, told]) for each in later.results}
        results = [fresh.get(each.work, each) for each in self.results]
        for before, work in pairwise(("", *fresh)):
            known = [each.work for each in results]
            if work not in known:
                results.insert(known.index(before) + 1 if before in known else len(known), fresh[work])
        return replace(self, results=results)

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Report:
        """The inverse of ``as_json``."""
        return cls(written["machine"], [_result(each) for each in written["results"]], written["failed"])


def _result(written: dict[str, Any]) -> Result:
    goals = [Goal(**{name: goal[name] for name in goal if name != "met"}) for goal in written["goals"]]
    return Result(**{**written, "goals": goals})
