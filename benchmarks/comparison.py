"""Servers side by side, asked in turn: ratios of medians.

Absolute figures move by 2x between hours on a shared machine, so no figure here stands alone: every round asks each
contender once, in turn, and a result is the ratio of the medians over the rounds. Many short rounds stand a disturbance
of some seconds better than a few long ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from benchmarks.contenders import GRAFT, Contender
from benchmarks.load import Load, Sample, wrk
from benchmarks.results import Goal, Result
from benchmarks.servers import Server, all_serving
from benchmarks.settings import Settings

Medians = dict[str, dict[str, float]]
STARTING = 1.0  # seconds to start and stop one server, for the estimate


@dataclass(frozen=True)
class Comparison:
    """Throughput of ``ours`` against each peer, which is to be at least so many times the peer's.

    With ``p99_lowest`` our 99th percentile has to be below each peer's. ``limit`` is measured as well and is no goal:
    the notes say how much of it was reached. A round takes ``seconds``, if the settings don't ask for more.
    """

    work: str
    title: str
    load: Load
    goals: Mapping[Contender, float]
    ours: Contender = GRAFT
    limit: Contender | None = None
    p99_lowest: bool = False
    seconds: int = 1
    warm_up: int = 1

    @property
    def contenders(self) -> list[Contender]:
        return [self.ours, *self.goals, *([self.limit] if self.limit else [])]

    def estimate(self, settings: Settings) -> float:
        """Seconds that it will take."""
        each = STARTING + self.warm_up + settings.rounds * self._seconds(settings)
        return len(self.contenders) * each

    def _seconds(self, settings: Settings) -> int:
        return max(self.seconds, settings.seconds)

    def run(self, settings: Settings, extra: Mapping[str, str] | None = None) -> Result:
        """``extra`` goes into the environment of every contender."""
        with all_serving(self.contenders, settings, extra) as servers:
            settings.advance(STARTING * len(servers), self.title)
            found = medians(self._alternate(servers, settings))
        return Result(self.work, self.title, self._goals(found), found, [*self._of_the_limit(found), *failures(found)])

    def _alternate(self, servers: list[Server], settings: Settings) -> dict[str, list[Sample]]:
        """Each round asks every contender once; every other round in the opposite order."""
        for server in servers:
            wrk(server, self.load, settings, self.warm_up)
        samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
        for number in range(settings.rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                samples[server.name].append(wrk(server, self.load, settings, self._seconds(settings)))
        return samples

    def _goals(self, found: Medians) -> list[Goal]:
        ours = self.ours.name
        goals = [
            Goal("throughput", peer.name, ratio(found, ours, peer.name, "requests_per_second"), least)
            for peer, least in self.goals.items()
        ]
        if self.p99_lowest:
            goals += [
                Goal("p99", peer.name, ratio(found, ours, peer.name, "p99_ms"), 1.0, at_most=True)
                for peer in self.goals
            ]
        return goals

    def _of_the_limit(self, found: Medians) -> list[str]:
        if self.limit is None:
            return []
        shares = ", ".join(
            f"{contender.name} {ratio(found, contender.name, self.limit.name, 'requests_per_second'):.2f}"
            for contender in (self.ours, *self.goals)
        )
        return [f"of the {self.limit.name} on uvicorn without any thread: {shares}"]


Surroundings = Callable[[Settings], AbstractContextManager[Mapping[str, str]]]
"""What has to run beside the contenders; it gives what they have to know of it, as environment variables."""


@dataclass(frozen=True)
class Comparisons:
    """A work: some comparisons, one after the other, in the same surroundings, which take ``preparing`` seconds."""

    name: str
    comparisons: list[Comparison]
    surroundings: Surroundings = lambda settings: nullcontext({})
    preparing: float = 0.0

    def estimate(self, settings: Settings) -> float:
        return self.preparing + sum(comparison.estimate(settings) for comparison in self.comparisons)

    def run(self, settings: Settings) -> Iterator[Result]:
        with self.surroundings(settings) as extra:
            settings.advance(self.preparing, self.name)
            for comparison in self.comparisons:
                yield comparison.run(settings, extra)


def medians(samples: Mapping[str, list[Sample]]) -> Medians:
    """Of the rounds; errors are the sum."""
    return {
        name: {
            "requests_per_second": statistics.median(sample.requests_per_second for sample in each),
            "p50_ms": statistics.median(sample.p50 for sample in each),
            "p99_ms": statistics.median(sample.p99 for sample in each),
            "cpu_ms": statistics.median(sample.cpu for sample in each),
            "errors": sum(sample.errors for sample in each),
        }
        for name, each in samples.items()
    }


def ratio(found: Medians, ours: str, theirs: str, what: str) -> float:
    """Raises no ZeroDivisionError: a peer without a single answer makes it 0, which meets no goal."""
    return found[ours][what] / found[theirs][what] if found[theirs][what] else 0.0


def failures(found: Medians) -> list[str]:
    """Notes on requests that were not answered: a ratio with them is worth less."""
    return [f"{name}: {each['errors']:.0f} requests failed" for name, each in found.items() if each["errors"]]
