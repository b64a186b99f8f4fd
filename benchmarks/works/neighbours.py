"""A native route's latency while legacy views sleep, or burn the CPU, in the same process."""

from __future__ import annotations

import statistics
import time

from benchmarks.harness import (
    GRAFT,
    PLAIN,
    Goal,
    Load,
    Result,
    Sample,
    Server,
    Settings,
    all_serving,
    medians,
    wrk,
    wrk_running,
)

NAME = "neighbours"

NATIVE = Load("/native", 1)
SLEEPING = Load("/sleep", 64)
BURNING = Load("/burn", 64)
# Let every thread get to work before the native route is asked.
SETTLING = 2
# 64 clients of 200 ms each need 13 s for one turn: a shorter look would not see throughput.
BURN_IN = 6
BURN = 12


def run(settings: Settings) -> list[Result]:
    return [_sleeping(settings), _burning(settings)]


def _under(server: Server, background: Load, settings: Settings) -> tuple[Sample, float]:
    """The native route while the background load runs, and the background's own requests a second."""
    settling, seconds = (SETTLING, settings.seconds) if background is SLEEPING else (BURN_IN, BURN)
    with wrk_running(server, background, settings, settling + seconds + 1) as process:
        time.sleep(settling)
        sample = wrk(server, NATIVE, settings, seconds)
        output, _ = process.communicate()
    rate = next(line for line in output.splitlines() if line.startswith("Requests/sec"))
    return sample, float(rate.split()[1])


def _sleeping(settings: Settings) -> Result:
    idle, loaded = [], []
    with all_serving([GRAFT], settings) as (server,):
        wrk(server, NATIVE, settings, 1)
        for _ in range(settings.rounds):
            idle.append(wrk(server, NATIVE, settings))
            loaded.append(_under(server, SLEEPING, settings)[0])
    found = medians({"idle": idle, "64 sleeping": loaded})
    goal = Goal("p99 / idle", found["64 sleeping"]["p99_ms"] / found["idle"]["p99_ms"], 1.2, at_most=True)
    return Result("sleep", "native route beside 64 clients of sleeping legacy views", [goal], found)


def _burning(settings: Settings) -> Result:
    samples: dict[str, list[Sample]] = {GRAFT.name: [], PLAIN.name: []}
    rates: dict[str, list[float]] = {GRAFT.name: [], PLAIN.name: []}
    with all_serving([GRAFT, PLAIN], settings) as servers:
        for number in range(settings.rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                sample, rate = _under(server, BURNING, settings)
                samples[server.contender.name].append(sample)
                rates[server.contender.name].append(rate)
    found = medians(samples)
    for name, each in rates.items():
        found[name]["legacy_requests_per_second"] = statistics.median(each)
    ours, theirs = found[GRAFT.name], found[PLAIN.name]
    goals = [
        Goal("p99 of plain a2wsgi / ours", theirs["p99_ms"] / ours["p99_ms"], 50),
        Goal("p99", ours["p99_ms"], 10, at_most=True, unit="ms"),
        Goal(
            "legacy throughput / plain a2wsgi",
            ours["legacy_requests_per_second"] / theirs["legacy_requests_per_second"],
            0.95,
        ),
    ]
    return Result("burn", "native route beside 64 clients of legacy views that burn 200 ms of CPU", goals, found)
