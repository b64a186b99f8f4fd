"""What a user feels of a mirrored side that is slow, fails, or hangs, at a pace that leaves a core free; and of a dark
route, mirrored as much as the budget allows, where the worker is saturated."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.request import Request, urlopen

from benchmarks.comparison import STARTING, failures, medians, ratio
from benchmarks.contenders import ROOT, Contender, graft
from benchmarks.load import Load, Sample, wrk
from benchmarks.results import Goal, Result
from benchmarks.servers import Server, serving
from benchmarks.settings import Settings

APPS = "benchmarks.apps.mirror"
TOKEN = "for-the-benchmark-alone"
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
UNTWINNED, DARK, CALM = "/untwinned", "/dark", "/calm"
CALM_REQUESTS = 40  # at 20 a second
SETTLED = 3  # seconds until all of those are compared

PATHS = (ALONE, NATIVE_ALONE, *(path for path, _, _ in CASES))


def _gateway(budget: str) -> Contender:
    gateway = graft(f"{APPS}.native", ALONE)
    own = {
        "GRAFT_MIRROR_BUDGET": budget,
        "GRAFT_ADMIN_TOKEN": TOKEN,
        "GRAFT_LEGACY": f"{APPS}.flask_app:app",
        "GRAFT_SWITCHES": str(ROOT / "benchmarks/apps/mirror/switches.toml"),
    }
    return Contender("graft", gateway.command, ALONE, tuple({**dict(gateway.environment), **own}.items()))


class Mirrored:
    name = "mirror"

    def estimate(self, settings: Settings) -> float:
        calm = CALM_REQUESTS / 20 + SETTLED
        return 2 * STARTING + len(PATHS) * (1 + settings.rounds * LOOK) + 2 * (1 + settings.rounds * LOOK) + calm

    def run(self, settings: Settings) -> Iterator[Result]:
        yield self._at_its_worst(settings)
        yield self._saturated(settings)

    def _at_its_worst(self, settings: Settings) -> Result:
        samples: dict[str, list[Sample]] = {path: [] for path in PATHS}
        loads = {path: Load(path, 4, PACED) for path in PATHS}
        with serving(_gateway("100"), settings) as server:
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
        return Result("mirror", "a mirrored user, 200 a second", goals, found, failures(found))

    def _saturated(self, settings: Settings) -> Result:
        """The same JSON from the Flask app, without a native twin and with one that nobody has set anything for."""
        samples: dict[str, list[Sample]] = {UNTWINNED: [], DARK: []}
        with serving(_gateway("10"), settings) as server:
            settings.advance(STARTING, self.name)
            calm = _mirrored_when_calm(server)
            for path in samples:
                wrk(server, Load(path), settings, 1)
            for number in range(settings.rounds):
                for path in samples if number % 2 == 0 else reversed(samples):
                    samples[path].append(wrk(server, Load(path), settings, LOOK))
            evidence = _counts(server, DARK)
        found = medians(samples)
        goals = [
            Goal("throughput", "without a twin", ratio(found, DARK, UNTWINNED, "requests_per_second"), 0.9),
            Goal("p99", "without a twin", ratio(found, DARK, UNTWINNED, "p99_ms"), 1.1, at_most=True),
            Goal("mirrored on an idle worker", "", calm, 100, unit="%"),
        ]
        notes = [f"compared on the saturated worker: {evidence['matched']} requests"]
        return Result("mirror dark", "a dark route on a saturated worker", goals, found, [*failures(found), *notes])


def _mirrored_when_calm(server: Server) -> float:
    """Percent of the requests of an idle worker that were compared."""
    for _ in range(CALM_REQUESTS):
        _get(server, CALM)
        time.sleep(0.05)
    time.sleep(SETTLED)
    return 100 * _counts(server, CALM)["matched"] / CALM_REQUESTS


def _counts(server: Server, path: str) -> dict[str, int]:
    rows = json.loads(_get(server, "/_graft/api/routes"))["routes"]
    row: dict[str, int] = next(row for row in rows if row["route"] == f"GET {path}")
    return row


def _get(server: Server, path: str) -> bytes:
    request = Request(f"http://127.0.0.1:{server.port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
    return body


WORK = Mirrored()
