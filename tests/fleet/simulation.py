"""What a fleet asks of its cluster: requests, documents and bytes a second, counted in virtual time.

The real keepers, publishers and states of all hosts run on one clock against a cluster in memory that counts. The
figures in docs/fleet.md come from ``python -m tests.fleet.simulation HOSTS ROUTES SECONDS``, which takes minutes.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson

from graft.figures.route_figures import Latency, RouteFigures, total
from graft.fleet import publisher as publisher_module
from graft.fleet.cluster import Cluster, Conflict, LeaseDocument, Look
from graft.fleet.fleet_state import FleetState
from graft.fleet.indices import past
from graft.fleet.publisher import LOOK_SECONDS as PUBLISHER_SECONDS
from graft.fleet.publisher import Publisher
from graft.fleet.rests import LOOK_SECONDS, Rest
from graft.fleet.server_document import ServerDocument
from graft.fleet.snapshot import Snapshot
from graft.operations.climb import start_climb
from graft.operations.shift import shift
from graft.operations.switches import Switches
from graft.settings import Settings
from graft.types import RouteKey, Side

ASKED, ANSWERED = 350, 300
"""Bytes of the heads and small bodies of a request and of an answer, as they go over the wire."""


@dataclass
class Traffic:
    """What the cluster has seen. ``asks``: looks and waits."""

    asks: int = 0
    requests: int = 0
    documents: int = 0
    read: int = 0
    written: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        return Traffic(*(getattr(self, name) - getattr(earlier, name) for name in self.__dataclass_fields__))

    def copy(self) -> Traffic:
        return Traffic(*(getattr(self, name) for name in self.__dataclass_fields__))


@dataclass
class Store:
    """The documents, for all hosts."""

    switches: Snapshot | None = None
    leases: dict[str, LeaseDocument] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    past: set[str] = field(default_factory=set)
    numbers: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    def next_version(self) -> tuple[int, int]:
        self.numbers += 1
        return 1, self.numbers


class CountedCluster(Cluster):
    """A cluster in memory, with the compare and set of a real one."""

    def __init__(self, name: str, settings: Settings, store: Store) -> None:
        super().__init__(name, settings)
        self.store = store

    def _count(self, *, documents: int = 0, read: Any = None, written: Any = None) -> None:
        traffic = self.store.traffic
        traffic.requests += 1
        traffic.documents += documents
        traffic.read += ANSWERED + (_compressed(read) if read is not None else 0)
        traffic.written += ASKED + (_compressed(written) if written is not None else 0)

    def look(self, leases: Sequence[str] = ()) -> Look:
        self._count()
        self.store.traffic.asks += 1
        version = self.store.switches.version if self.store.switches is not None else None
        return Look(version, {name: self.store.leases[name] for name in leases if name in self.store.leases})

    def read(self) -> Snapshot | None:
        found = self.store.switches
        self._count(read=found.as_source(self.name) if found is not None else None)
        return found

    def write(self, snapshot: Snapshot) -> Snapshot:
        self._count(documents=1, written=snapshot.as_source(self.name))
        known = self.store.switches.version if self.store.switches is not None else None
        if known != snapshot.version:
            raise Conflict
        self.store.switches = snapshot.at(self.store.next_version())
        return self.store.switches

    def wait(self) -> None:
        self._count()
        self.store.traffic.asks += 1

    def wake(self, snapshot: Snapshot) -> None:
        self._count()
        self.store.past.add(past(self.name, snapshot.id, snapshot.revision - 1))

    def may_wake(self) -> bool:
        self._count()
        return True

    def count_servers(self) -> int:
        self._count()
        return len(self.store.servers)

    def write_lease(
        self, name: str, holder: str, host: str, term: int, notes: Mapping[str, Any], version: tuple[int, int] | None
    ) -> LeaseDocument:
        self._count(documents=1)
        known = self.store.leases.get(name)
        if (known.version if known is not None else None) != version:
            raise Conflict
        self.store.leases[name] = LeaseDocument(holder, term, host, self.store.next_version(), notes)
        return self.store.leases[name]

    def record(self, events: Any) -> None:
        self._count(documents=len(list(events)))

    def recorded(self, ids: Sequence[str]) -> set[str]:
        self._count()
        return set()

    def write_server(self, fields: Mapping[str, Any]) -> bool:
        self._count(documents=1, written=dict(fields))
        is_new = fields["server"] not in self.store.servers
        self.store.servers.setdefault(fields["server"], {}).update(fields)
        return is_new

    def servers(self, blob: str) -> list[ServerDocument]:
        self._count(read=[each.get(blob) for each in self.store.servers.values()])
        return [ServerDocument.of_source(each, blob) for each in self.store.servers.values()]


def _compressed(data: Any) -> int:
    return len(zlib.compress(orjson.dumps(data), 6))


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class SimulatedHost:
    """One worker of a host, which is the one that asks; its other workers ask nothing."""

    def __init__(self, number: int, folder: Path, store: Store, clock: Clock, routes: Sequence[RouteKey]) -> None:
        settings = Settings.load(
            fleet="shop",
            elasticsearch_url=("http://127.0.0.1:1",),
            data=folder / f"{number}",
            switches=folder / "switches.toml",
        )
        self.server = f"host-{number}"
        self.cluster = CountedCluster("shop", settings, store)
        self.state = FleetState(self.cluster, settings.data, settings.switches)
        rests = self.state.keeper.rests
        self.state.keeper._clock = rests._clock = rests.waiting._clock = self.state.servers._clock = (
            self.state.baselines._clock
        ) = clock
        self.state.lease("promotion")
        self.state._follower = self  # type: ignore[assignment]
        self._followed: tuple[int, Switches] | None = None
        self.state.begin()
        self.publisher = Publisher(self.state, self._evidence, self._shown, clock)
        self._drawn = random.Random(number)
        self.counted = {route: RouteFigures(build="b" * 32) for route in routes}
        self._traffic = [traffic(1 + 2000 // (place + 1), self._drawn) for place in range(40)]
        self._rest = Rest(self._drawn.random() * LOOK_SECONDS)
        self._rests_until = self._rest.seconds
        self.next_figures = self._drawn.random()

    @property
    def switches(self) -> Switches:
        """As a follower has them: one object until they change."""
        revision = self.state.last_known.read().revision
        if self._followed is None or self._followed[0] != revision:
            self._followed = revision, self.state.on_this_host()
        return self._followed[1]

    def serve(self) -> None:
        """A few more answers for each route, most of them for a few: as in real sites."""
        for place, route in enumerate(self.counted):
            if place < 100 or self._drawn.random() < 0.05:
                self.counted[route] = total([self.counted[route], self._traffic[min(place, 39)]])

    async def run(self, clock: Clock) -> None:
        woken = self._rest.alias in self.cluster.store.past
        if woken or clock.seconds >= self._rests_until:
            self._rest = self.state.keeper.look(woken)
            self._rests_until = clock.seconds + self._rest.seconds
            if self._rest.alias is not None:
                self.cluster.wait()
        if clock.seconds >= self.next_figures:
            self.next_figures = clock.seconds + PUBLISHER_SECONDS
            with patch.object(publisher_module, "own_server", lambda: self.server):
                await self.publisher.look()

    async def _evidence(self) -> Mapping[RouteKey, RouteFigures]:
        return self.counted

    async def _shown(self) -> Mapping[str, RouteFigures]:
        return {str(route): figures for route, figures in self.counted.items()}


def traffic(number: int, drawn: random.Random) -> RouteFigures:
    def latency() -> Latency:
        return Latency.of(drawn.lognormvariate(-4, 0.5) for _ in range(min(number, 500)))

    return RouteFigures(
        {Side.NATIVE: number, Side.LEGACY: number, Side.FALLBACK: 0},
        0,
        {Side.NATIVE: latency(), Side.LEGACY: latency(), Side.FALLBACK: Latency()},
        {"matched": number},
        {Side.NATIVE: {"2xx": number}, Side.LEGACY: {"2xx": number}, Side.FALLBACK: {}},
        "b" * 32,
    )


async def simulate(
    folder: Path, hosts: int, routes: int, *, seconds: float, climbing: int, changes: int, settle: float = 2.0
) -> Traffic:
    """What the cluster sees in ``seconds``, after ``settle``: with so many routes that climb, and changes a minute."""
    store, clock = Store(), Clock()
    keys = [RouteKey("GET", f"/api/resource{number}/{{id:int}}") for number in range(routes)]
    text = "".join(f'["{key}"]\nshare = 10\nmirror = 100\nignore = ["body.took"]\n\n' for key in keys)
    (folder / "switches.toml").write_text(text)
    all_ = [SimulatedHost(number, folder, store, clock, keys) for number in range(hosts)]
    for key in keys[:climbing]:
        start_climb(all_[0].state, key, by="alice")
    before, next_change = Traffic(), settle
    while clock.seconds < settle + seconds:
        if clock.seconds <= settle:
            before = store.traffic.copy()
        for host in all_:
            if int(clock.seconds * 4) % 40 == 0:
                host.serve()
            await host.run(clock)
        if changes and clock.seconds >= next_change:
            next_change += 60 / changes
            shift(all_[1 % hosts].state, keys[-1], 1 + store.numbers % 99, by="alice")
        clock.seconds += 0.25
    return store.traffic.since(before)


async def main(hosts: int, routes: int, seconds: float) -> None:
    for climbing, changes in ((0, 0), (10, 2)):
        with tempfile.TemporaryDirectory() as folder:
            seen = await simulate(
                Path(folder), hosts, routes, seconds=seconds, climbing=climbing, changes=changes, settle=45.0
            )
        print(
            f"{hosts} hosts, {routes} routes, {climbing} climb, {changes} changes a minute, a second: "
            f"{seen.asks / seconds:.1f} looks and waits, {(seen.requests - seen.asks) / seconds:.1f} other requests, "
            f"{seen.documents / seconds:.1f} documents, {seen.read / seconds / 1024:.0f} KB read, "
            f"{seen.written / seconds / 1024:.0f} KB written"
        )


if __name__ == "__main__":
    asyncio.run(main(*(int(word) for word in sys.argv[1:3]), float(sys.argv[3])))  # type: ignore[call-arg]
