"""``python -m tests.operations.promotion_simulation [RUNS]``: promotions of made-up twins, and how many come through.

Each run climbs the default ladder by the default gates, from the dark rung to share 100, and looks again after each
handful of requests. A twin that is worse than a gate in one way must not come through; one that is sound must not be
taken back, nor wait for ever.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

from graft.figures.latency import added
from graft.figures.route_figures import Latency, RouteFigures
from graft.operations.gates import Verdict, gates_of
from graft.operations.promotion import step_of
from graft.operations.switch import Switch
from graft.types import RouteKey, Side

KEY = RouteKey("GET", "/thing")
LONGEST = 150_000
"""Requests on one rung after which a run has not come through."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A native route beside its legacy rule, by its true rates. ``look`` is after how many requests the promotion looks
    again; with a ``growth`` each look comes after so much more than all before."""

    name: str
    sound: bool
    differs: float = 0.0
    uncompared: float = 0.0
    errors: float = 0.0
    legacy_errors: float = 0.0
    slower: float | None = None
    look: int = 200
    growth: float = 0.05


TWINS = (
    Twin("parity 99.5 %, exactly the gate", False, differs=0.005),
    Twin("parity 99.5 %, a look each 20 requests", False, differs=0.005, look=20, growth=0.02),
    Twin("parity 99.4 %", False, differs=0.006),
    Twin("parity 99 %", False, differs=0.01),
    Twin("parity 99 %, low traffic", False, differs=0.01, look=20),
    Twin("parity 95 %", False, differs=0.05),
    Twin("native p95 1.21 x legacy", False, slower=1.21, look=500, growth=0.15),
    Twin("native p95 1.3 x", False, slower=1.3, look=300, growth=0.1),
    Twin("native p95 1.85 x", False, slower=1.85, look=100),
    Twin("native p95 2.18 x", False, slower=2.18, look=100),
    Twin("1 % more errors than legacy", False, errors=0.01, growth=0.1),
    Twin("2 % more errors", False, errors=0.02, growth=0.1),
    Twin("3 % errors, legacy 1.5 %", False, errors=0.03, legacy_errors=0.015, growth=0.1),
    Twin("5.5 % of mirrors fail", False, uncompared=0.055),
    Twin("without a fault", True),
    Twin("without a fault, low traffic", True, look=20, growth=0.02),
    Twin("without a fault, high traffic", True, look=5000),
    Twin("parity 99.9 %", True, differs=0.001),
    Twin("parity 99.8 %", True, differs=0.002),
    Twin("native p95 as legacy's", True, slower=1.0, look=200, growth=0.1),
    Twin("native p95 1.02 x", True, slower=1.02, look=200, growth=0.1),
    Twin("native p95 1.08 x", True, slower=1.08, look=500, growth=0.1),
    Twin("half as slow", True, slower=0.5, look=200, growth=0.1),
    Twin("0.2 % errors on both sides", True, errors=0.002, legacy_errors=0.002, growth=0.1),
    Twin("3 % errors on both sides", True, errors=0.03, legacy_errors=0.03, growth=0.1),
    Twin("2 % of mirrors fail", True, uncompared=0.02),
)


@dataclass(frozen=True, slots=True)
class Run:
    """How one promotion went: the share it came to, whether a gate took it back, and after how many requests."""

    share: float
    taken_back: bool
    requests: int

    @property
    def came_through(self) -> bool:
        return self.share == 100


def promote(twin: Twin, dice: random.Random) -> Run:
    switch, requests = Switch(mirror=100.0), 0
    while switch.share < 100:
        for since in traffic(twin, switch.share, dice):
            verdicts = {gate.verdict for gate in gates_of(KEY, switch, since)}
            if Verdict.CLOSED in verdicts or Verdict.NOT_YET not in verdicts:
                break
        requests += since.requests
        if Verdict.CLOSED in verdicts or Verdict.NOT_YET in verdicts:
            return Run(switch.share, Verdict.CLOSED in verdicts, requests)
        switch = replace(switch, **(step_of(switch) or {}))
    return Run(switch.share, False, requests)


def traffic(twin: Twin, share: float, dice: random.Random) -> Iterator[RouteFigures]:
    """The figures at each look since a rung began, until LONGEST."""
    native = RouteFigures()
    requests = failed = legacy_failed = different = uncompared = 0
    bins: dict[Side, dict[int, int]] = {side: {} for side in Side}
    while requests < LONGEST:
        more = max(twin.look, round(requests * twin.growth))
        natively = (requests + more) * share // 100 - requests * share // 100
        requests += more
        failed += binomial(dice, int(natively), twin.errors)
        legacy_failed += binomial(dice, more - int(natively), twin.legacy_errors)
        lost = binomial(dice, more, twin.uncompared)
        uncompared += lost
        different += binomial(dice, more - lost, twin.differs)
        for side, factor in ((Side.NATIVE, twin.slower), (Side.LEGACY, 1.0)):
            bins[side] = added((bins[side], latency(dice, more, factor if twin.slower is not None else None)))
        served = int(requests * share // 100)
        compared = requests - uncompared
        native = RouteFigures(
            {Side.NATIVE: served - failed, Side.FALLBACK: failed, Side.LEGACY: requests - served},
            failed,
            {side: Latency(bins[side]) for side in Side},
            {"matched": compared - different, "different": different, "failed": uncompared},
            {Side.NATIVE: {}, Side.FALLBACK: {}, Side.LEGACY: {"5xx": legacy_failed}},
        )
        yield native


def latency(dice: random.Random, count: int, factor: float | None) -> dict[int, int]:
    """Log-normal around 30 ms, the p95 at 2.3 times that; without a factor all the same, which is quick."""
    if factor is None:
        return dict(Latency.of([0.03]).bins | {next(iter(Latency.of([0.03]).bins)): count})
    draw = dice.gauss
    return dict(Latency.of(0.03 * factor * math.exp(draw(0, 0.5)) for _ in range(count)).bins)


def binomial(dice: random.Random, trials: int, rate: float) -> int:
    """Hits of so many trials, by the waiting times between them."""
    if not rate:
        return 0
    hits, position = 0, 0
    while True:
        position += 1 + math.floor(math.log(1 - dice.random()) / math.log1p(-rate))
        if position > trials:
            return hits
        hits += 1


def row(twin: Twin, runs: list[Run]) -> str:
    """One line of the table."""
    through, back = sum(run.came_through for run in runs), sum(run.taken_back for run in runs)
    first = sum(run.share > 0 for run in runs)
    requests = sorted(run.requests for run in runs if run.came_through is twin.sound) or [0]
    return (
        f"| {twin.name} | {'sound' if twin.sound else 'worse'} | {100 * through / len(runs):.2f} % "
        f"| {100 * back / len(runs):.2f} % | {100 * first / len(runs):.2f} % | {median(requests):,.0f} |"
    )


def main(total: int, twins: tuple[Twin, ...] = TWINS) -> None:
    print("| twin | | comes through | taken back | past the dark rung | requests, median |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, twin in enumerate(twins):
        dice = random.Random(number)
        print(row(twin, [promote(twin, dice) for _ in range(max(1, total // len(twins)))]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
