"""A native route's latency while legacy views sleep, or burn the CPU, in the same process."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.comparison import STARTING, failures, medians, ratio
from benchmarks.contenders import GRAFT, PLAIN
from benchmarks.load import Load, Sample, wrk, wrk_running
from benchmarks.results import Goal, Result
from benchmarks.servers import Server, all_serving
from benchmarks.settings import Settings

NATIVE = Load("/native", 1)
LEAVING = 1  # seconds that the background load goes on after the look


@dataclass(frozen=True)
class Background:
    """What the neighbours do. The native route is looked at for ``look`` seconds, ``settling`` seconds after they
    began, when every thread is at work."""

    load: Load
    settling: int
    look: int

    @property
    def seconds(self) -> int:
        return self.settling + self.look + LEAVING

    def disturb(self, server: Server, settings: Settings) -> tuple[Sample, float]:
        """The native route meanwhile, and the neighbours' own requests a second."""
        with wrk_running(server, self.load, settings, self.seconds) as process:
            time.sleep(self.settling)
            sample = wrk(server, NATIVE, settings, self.look)
            output, _ = process.communicate()
        settings.advance(self.seconds - self.look, server.name)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
        return sample, float(rate[1]) if rate else 0.0


SLEEPING = Background(Load("/sleep", 64), settling=1, look=1)
# 64 clients of 200 ms each need 13 s for one turn: a shorter look would not see throughput.
BURNING = Background(Load("/burn", 64), settling=6, look=12)
BURNING_ROUNDS = 5  # at most: each takes as long as nineteen others


class Neighbours:
    name = "neighbours"

    def estimate(self, settings: Settings) -> float:
        sleeping = settings.rounds * (SLEEPING.look + SLEEPING.seconds)
        return 3 * STARTING + 1 + sleeping + 2 * _burning_rounds(settings) * BURNING.seconds

    def run(self, settings: Settings) -> Iterator[Result]:
        yield _beside_sleep(settings)
        yield _beside_burn(settings)


WORK = Neighbours()


def _beside_sleep(settings: Settings) -> Result:
    idle, loaded = [], []
    with all_serving([GRAFT], settings) as (server,):
        settings.advance(STARTING, "neighbours")
        wrk(server, NATIVE, settings, 1)
        for _ in range(settings.rounds):
            idle.append(wrk(server, NATIVE, settings, SLEEPING.look))
            loaded.append(SLEEPING.disturb(server, settings)[0])
    found = medians({"idle": idle, "64 sleeping": loaded})
    goal = Goal("p99", "idle", ratio(found, "64 sleeping", "idle", "p99_ms"), 1.2, at_most=True)
    return Result("sleep", "native route beside 64 views that sleep", [goal], found, failures(found))


def _burning_rounds(settings: Settings) -> int:
    return min(settings.rounds, BURNING_ROUNDS)


def _beside_burn(settings: Settings) -> Result:
    samples: dict[str, list[Sample]] = {GRAFT.name: [], PLAIN.name: []}
    rates: dict[str, list[float]] = {GRAFT.name: [], PLAIN.name: []}
    with all_serving([GRAFT, PLAIN], settings) as servers:
        settings.advance(2 * STARTING, "neighbours")
        for number in range(_burning_rounds(settings)):
            for server in servers if number % 2 == 0 else reversed(servers):
                sample, rate = BURNING.disturb(server, settings)
                samples[server.name].append(sample)
                rates[server.name].append(rate)
    found = medians(samples)
    for name, each in rates.items():
        found[name]["legacy_requests_per_second"] = statistics.median(each)
    goals = [
        Goal("p99, times lower", PLAIN.name, ratio(found, PLAIN.name, GRAFT.name, "p99_ms"), 50),
        Goal("p99", "", found[GRAFT.name]["p99_ms"], 10, at_most=True, unit="ms"),
        Goal("legacy throughput", PLAIN.name, ratio(found, GRAFT.name, PLAIN.name, "legacy_requests_per_second"), 0.95),
    ]
    title = "native route beside 64 views that burn CPU"
    return Result("burn", title, goals, found, failures(found))
