"""What the access record of a request costs a worker, in both formats: its CPU time with the log and without it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.comparison import Comparison
from benchmarks.contenders import NATIVE, Contender, graft
from benchmarks.load import Load
from benchmarks.results import Goal, Result
from benchmarks.settings import Settings

SILENT = "no access log"


def _contenders(probe: str) -> list[Contender]:
    return [
        graft(NATIVE, probe, name=name, more=environment)
        for name, environment in (
            (SILENT, {"LOG_LEVEL": "error"}),
            ("console", {"LOG_FORMAT": "console"}),
            ("json", {"LOG_FORMAT": "json"}),
        )
    ]


class AccessLog:
    name = "access"

    def __init__(self) -> None:
        self._comparisons = [
            Comparison("access legacy", "access record of a small Flask view", Load("/small"), *_of("/small")),
            Comparison("access native", "access record of a native route", Load("/native"), *_of("/native")),
        ]

    def estimate(self, settings: Settings) -> float:
        return sum(comparison.estimate(settings) for comparison in self._comparisons)

    def run(self, settings: Settings) -> Iterator[Result]:
        for comparison in self._comparisons:
            measured = comparison.run(settings)
            found = measured.medians
            goals = [
                Goal(f"CPU, {name}", "", (found[name]["cpu_ms"] - found[SILENT]["cpu_ms"]) * 1000, 8, True, "us")
                for name in ("console", "json")
            ]
            yield Result(measured.work, measured.title, goals, found, measured.notes)


def _of(probe: str) -> tuple[dict[Contender, float], Contender]:
    """The peers and who is compared to them, for a ``Comparison``: here all three are Graft."""
    silent, *writing = _contenders(probe)
    return dict.fromkeys(writing, 0.0), silent


WORK = AccessLog()
