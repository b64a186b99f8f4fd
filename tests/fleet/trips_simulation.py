"""How many users see a failure before a route trips, by the number of hosts: ``python -m
tests.fleet.trips_simulation``.

In virtual time: the counts of trips and the fleet's sums are the real ones, over documents in memory. The workers of a
host count together (tests/switching/test_trip_counts.py), so a host is one of them here. A trip comes to the other
hosts ``NEWS_SECONDS`` after it was decided.
"""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from graft.fleet import fleet_trips
from graft.fleet.fleet_trips import LOOK_SECONDS, FleetTrips
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.switching.host_failures import HostFailures
from graft.switching.trip_counts import TripCounts
from graft.switching.trips import Window
from graft.types import RouteKey
from tests.fleet.hosts import Clock

KEY = RouteKey("POST", "/write")
SWITCHES = Switches({KEY: Switch(share=100)})
NEWS_SECONDS = 0.3


@dataclass
class Documents:
    """What the hosts have told of the route, and how often."""

    hosts: dict[str, Any] = field(default_factory=dict)
    writes: int = 0

    def tell_failures(self, key: RouteKey, revision: int, server: str, own: Mapping[str, Any]) -> Mapping[str, Any]:
        self.writes += 1
        self.hosts[server] = dict(own)
        return dict(self.hosts)


class Host:
    def __init__(self, number: int, hosts: int, clock: Clock, documents: Documents) -> None:
        self.name = f"web-{number}"
        self.counts = TripCounts()
        self.window = Window(SWITCHES[KEY].trip, self.counts.row(KEY), self.counts, 7)
        self.reason: str | None = None
        state = SimpleNamespace(
            keeper=SimpleNamespace(leads=True, rests=SimpleNamespace(hosts=hosts)),
            followed=SWITCHES,
            cluster=documents,
            last_known=SimpleNamespace(read=lambda: SimpleNamespace(revisions={})),
        )
        failures = HostFailures(self.counts, lambda _, reason: setattr(self, "reason", reason), clock=clock)
        self.trips = FleetTrips(state, failures, clock, clock)  # type: ignore[arg-type]

    async def look(self) -> None:
        with patch.object(fleet_trips, "own_server", lambda: self.name):
            await self.trips.look()


@dataclass(frozen=True)
class Outcome:
    failures: int
    writes: int
    reason: str


async def outcome(
    hosts: int, *, requests: float, rate: float, well: float, seed: int, together: bool = True
) -> Outcome | None:
    """Of a route that gets so many ``requests`` a second, over all hosts, and of which ``rate`` fail after ``well``
    seconds; None where it has not tripped after two minutes. ``together``: the hosts tell each other."""
    chance, clock, documents = random.Random(seed), Clock(), Documents()
    all_of_them = [Host(number, hosts, clock, documents) for number in range(hosts)]
    looks = [1000.0 + chance.random() * LOOK_SECONDS for _ in all_of_them]
    failed, dark_at, reason = 0, float("inf"), ""
    while clock.seconds < 1000.0 + well + 120.0:
        clock.seconds += 1 / requests
        for number, host in enumerate(all_of_them):
            if together and clock.seconds >= looks[number]:
                looks[number] = clock.seconds + LOOK_SECONDS
                await host.look()
                if host.reason and not reason:
                    dark_at, reason = clock.seconds + NEWS_SECONDS, host.reason
        if clock.seconds >= dark_at:
            return Outcome(failed, documents.writes, reason)
        host = chance.choice(all_of_them)
        if host.window.tripped:
            continue
        if clock.seconds < 1000.0 + well or chance.random() >= rate:
            host.window.succeeded(clock.seconds)
            continue
        failed += 1
        told = host.window.failed(clock.seconds)
        if told is not None:
            host.window.trip()
            if not reason:
                dark_at, reason = clock.seconds + NEWS_SECONDS, told
    return None


async def failures(hosts: int, runs: int, **how: Any) -> tuple[float, float]:
    """The median of failures before a trip and of documents written."""
    found = [await outcome(hosts, seed=seed, **how) for seed in range(runs)]
    assert all(found), "it has not tripped"
    return (
        statistics.median(each.failures for each in found if each),
        statistics.median(each.writes for each in found if each),
    )


async def main(runs: int = 5) -> None:
    print(f"failures before a trip, median of {runs}: one host; 2, 5, 20 hosts alone and together (documents written)")
    for requests, rate, well in (
        (2.0, 1.0, 60.0),
        (20.0, 1.0, 60.0),
        (20.0, 0.3, 60.0),
        (200.0, 1.0, 60.0),
        (200.0, 0.2, 60.0),
        (2.0, 1.0, 0.0),
        (20.0, 1.0, 0.0),
        (200.0, 1.0, 0.0),
    ):
        one, _ = await failures(1, runs, requests=requests, rate=rate, well=well)
        row = [f"{one:g}"]
        for hosts in (2, 5, 20):
            alone, _ = await failures(hosts, runs, requests=requests, rate=rate, well=well, together=False)
            both, writes = await failures(hosts, runs, requests=requests, rate=rate, well=well)
            row.append(f"{alone:g} / {both:g} ({writes:g})")
        print(f"{requests:g} a second, {100 * rate:g} % fail after {well:g} s: {', '.join(row)}", flush=True)


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main())
