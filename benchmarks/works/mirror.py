"""What a user feels of a mirrored side that is slow, fails, or hangs, at a pace that leaves a core free."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.comparison import STARTING, failures, medians, ratio
from benchmarks.contenders import ROOT, Contender, graft
from benchmarks.load import Load, Sample, wrk
from benchmarks.results import Goal, Result
from benchmarks.servers import serving
from benchmarks.settings import Settings

APPS = "benchmarks.apps.mirror"
# 4 clients that rest 10 to 30 ms after each answer: some 200 requests a second.
PACED = "function delay() return math.random(10, 30) end"
LOOK = 3  # seconds a round: enough requests for a 99th percentile

ALONE, NATIVE_ALONE = "/alone", "/native-alone"
# The mirrored path, the same without a mirror, and what the mirror does.
CASES = (
    ("/slow", ALONE, "native mirror of 200 ms"),
    ("/failing", ALONE, "native mirror that fails"),
    ("/hanging", ALONE, "native mirror that hangs"),
    ("/native-slow", NATIVE_ALONE, "legacy mirror of 200 ms"),
)
PATHS = (ALONE, NATIVE_ALONE, *(path for path, _, _ in CASES))


def _gateway() -> Contender:
    gateway = graft(f"{APPS}.native", ALONE)
    own = {
        "GRAFT_LEGACY": f"{APPS}.flask_app:app",
        "GRAFT_SWITCHES": str(ROOT / "benchmarks/apps/mirror/switches.toml"),
    }
    return Contender("graft", gateway.command, ALONE, tuple({**dict(gateway.environment), **own}.items()))


class Mirrored:
    name = "mirror"

    def estimate(self, settings: Settings) -> float:
        return STARTING + len(PATHS) * (1 + settings.rounds * LOOK)

    def run(self, settings: Settings) -> Iterator[Result]:
        samples: dict[str, list[Sample]] = {path: [] for path in PATHS}
        loads = {path: Load(path, 4, PACED) for path in PATHS}
        with serving(_gateway(), settings) as server:
            settings.advance(STARTING, self.name)
            for path in PATHS:
                wrk(server, loads[path], settings, 1)
            for number in range(settings.rounds):
                for path in PATHS if number % 2 == 0 else reversed(PATHS):
                    samples[path].append(wrk(server, loads[path], settings, LOOK))
        found = medians(samples)
        goals = [
            Goal(f"p99, {what}", "without", ratio(found, path, alone, "p99_ms"), 1.2, at_most=True)
            for path, alone, what in CASES
        ]
        yield Result("mirror", "a mirrored user, 200 a second", goals, found, failures(found))


WORK = Mirrored()
