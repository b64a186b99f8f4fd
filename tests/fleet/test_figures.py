"""The figures of a fleet: each server tells what it counted, and that adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from graft.figures.route_figures import RouteFigures, total
from graft.fleet import servers as module
from graft.fleet.fleet_state import FleetState
from graft.fleet.publisher import Publisher
from graft.operations.climb import start_climb
from graft.operations.promoter import Promoter
from graft.operations.shift import shift
from graft.types import RouteKey
from tests.fleet.hosts import A, Clock, Fleet, gateway
from tests.operations.climbing import figures

GOOD = {"compared": 2000, "matched": 2000, "native": 2000, "legacy": 2000, "took": (10, 20)}


class Server:
    """A host with made-up traffic, whose worker tells it to the fleet."""

    def __init__(self, state: FleetState, clock: Clock, monkeypatch: pytest.MonkeyPatch, id: str) -> None:
        self.state = state
        self.id = id
        self.counted = RouteFigures(build="one")
        self.follower = state.follow()
        self._clock = clock
        self._patch = monkeypatch
        state.servers._clock = clock
        state.keeper._clock = clock
        state.baselines._clock = clock
        self.promoter = Promoter(state, self.follower, self._figures_of, id, routes=[A])
        state.keeper.look()
        self.publisher = Publisher(state, self._evidence, self._shown, clock)

    def count(self, **traffic: object) -> None:
        more = figures(**traffic)  # type: ignore[arg-type]
        more.build = self.counted.build
        self.counted = total([self.counted, more])

    async def look(self) -> None:
        """All that its worker does of itself."""
        self._as_this_server()
        self.state.keeper.look()
        await self.follower.look()
        await self.publisher.look()

    async def promote(self) -> None:
        self._as_this_server()
        await self.promoter.look()

    def rung(self) -> RouteFigures:
        self._as_this_server()
        rung = self.state.baselines.rung(A, self.state.read()[A], self.counted, self.id)
        assert rung is not None
        return rung.figures

    def _as_this_server(self) -> None:
        """All servers of these tests share one process."""
        self._patch.setattr(module, "own_server", lambda folder=None: self.id)
        self._patch.setattr("graft.fleet.publisher.own_server", lambda folder=None: self.id)
        self._patch.setattr("graft.fleet.fleet_state.own_server", lambda folder=None: self.id)
        self._patch.setattr("graft.fleet.publisher.folders.server_name", lambda: self.id)
        self._patch.setattr("graft.fleet.publisher.socket.gethostname", lambda: self.id)

    async def _evidence(self) -> Mapping[RouteKey, RouteFigures]:
        return {A: self.counted}

    async def _shown(self) -> Mapping[str, RouteFigures]:
        return {str(A): self.counted}

    async def _figures_of(self) -> Callable[[RouteKey], RouteFigures]:
        return lambda key: self.counted


@pytest.fixture
def server(fleet: Fleet, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Server]:
    def make(name: str, id: str | None = None) -> Server:
        return Server(fleet.host(name), clock, monkeypatch, id or name)

    return make


async def pass_by(clock: Clock, servers: list[Server], seconds: float) -> None:
    clock.seconds += seconds
    for each in servers:
        await each.look()
    refresh(servers[0])


def refresh(server: Server) -> None:
    server.state.cluster.client().indices.refresh(index="graft-fleet-*")


async def test_what_all_servers_count_is_shown_by_each(server: Callable[[str], Server], clock: Clock) -> None:
    one, two = both = [server("one"), server("two")]
    one.count(native=10, compared=100, matched=98)
    two.count(native=20, compared=100, matched=100)
    await pass_by(clock, both, 20)
    one._as_this_server()
    together = one.state.of_all({str(A): one.counted})[str(A)]
    assert (together.compared, together.matched, together.requests) == (200, 198, 30)
    two._as_this_server()
    assert two.state.of_all({str(A): two.counted})[str(A)].compared == 200


async def test_a_server_that_starts_again_is_not_counted_twice_and_what_it_had_seen_still_counts(
    server: Callable[..., Server], clock: Clock
) -> None:
    one, two = both = [server("one"), server("two")]
    shift(one.state, A, 10, by="alice")
    await pass_by(clock, both, 1)
    one.count(compared=100, matched=100)
    two.count(compared=100, matched=99)
    await pass_by(clock, both, 20)
    assert (one.rung().compared, one.rung().matched) == (200, 199)
    two.state.keeper.end()
    again = server("two", "two-again")
    for _ in range(3):
        await pass_by(clock, [one, again], 30)
    again.count(compared=50, matched=50)
    await pass_by(clock, [one, again], 20)
    assert (one.rung().compared, one.rung().matched) == (250, 249)
    one._as_this_server()
    shown = one.state.of_all({str(A): one.counted})[str(A)]
    assert shown.compared == 150  # of the servers that live


async def test_what_was_counted_before_a_rung_counts_for_it_on_no_host(
    server: Callable[[str], Server], clock: Clock
) -> None:
    """198 of 200 matched on two hosts is not "open" as one host's history is taken for the other's beginning."""
    one, two = both = [server("one"), server("two")]
    two.count(compared=100_000, matched=100_000)
    await pass_by(clock, both, 20)
    shift(one.state, A, 10, by="alice")
    await pass_by(clock, both, 1)
    one.count(compared=100, matched=98)
    two.count(compared=100, matched=100)
    await pass_by(clock, both, 20)
    assert (one.rung().compared, one.rung().matched) == (200, 198)
    assert (two.rung().compared, two.rung().matched) == (200, 198)


async def test_what_a_server_that_has_ended_saw_on_an_earlier_rung_of_the_same_share_does_not_count_again(
    server: Callable[[str], Server], clock: Clock
) -> None:
    one, two = both = [server("one"), server("two")]
    shift(one.state, A, 10, by="alice")
    await pass_by(clock, both, 1)
    two.count(compared=1000, matched=1000)
    await pass_by(clock, both, 20)
    assert one.rung().compared == 1000
    for share in (0, 10):  # mended, and tried again
        shift(one.state, A, share, by="alice")
        await pass_by(clock, [one], 20)
    one.count(compared=5, matched=5)
    await pass_by(clock, [one], 20)
    assert one.rung().compared == 5


async def test_one_of_many_hosts_climbs_by_the_figures_of_all(server: Callable[[str], Server], clock: Clock) -> None:
    all_ = [server(name) for name in ("one", "two", "three")]
    one, two, three = all_
    start_climb(one.state, A, by="alice")
    for _ in range(60):
        await pass_by(clock, all_, 30)
        for each in all_:
            await each.promote()
        if one.state.read()[A].share == 100:
            break
        two.count(**GOOD)  # the host that drives it has no traffic of its own
        three.count(**GOOD)
    assert one.state.read()[A].share == 100
    steps = [event.after["share"] for event in reversed(one.state.history(A)) if event.operation == "promote"]
    assert steps == [1, 10, 50, 100]
    assert {event.by for event in one.state.history(A)} == {"alice", "promotion"}


async def test_a_bad_host_takes_the_route_back_for_all(server: Callable[[str], Server], clock: Clock) -> None:
    one, two = both = [server("one"), server("two")]
    shift(one.state, A, 10, by="alice")
    start_climb(one.state, A, by="alice")
    await pass_by(clock, both, 1)
    for _ in range(20):
        one.count(**GOOD)
        two.count(**{**GOOD, "matched": 1500})
        await pass_by(clock, both, 30)
        for each in both:
            await each.promote()
        if one.state.read()[A].climb is None:
            break
    assert one.state.read()[A].share == 0
    assert one.state.history(A)[0].operation == "demote"


async def test_while_two_builds_serve_the_gates_wait_for_the_new_one(
    server: Callable[[str], Server], clock: Clock
) -> None:
    one, two = both = [server("one"), server("two")]
    shift(one.state, A, 10, by="alice")
    await pass_by(clock, both, 1)
    one.count(compared=5000, matched=5000)
    await pass_by(clock, both, 20)
    two.counted = replace(RouteFigures(), build="two")  # it was started with new code
    two.follower.switches = replace(two.follower.switches)
    await pass_by(clock, both, 20)
    two.count(compared=7, matched=6)
    await pass_by(clock, both, 20)
    assert (one.rung().compared, one.rung().matched) == (7, 6)
    one.counted = RouteFigures(build="two")
    one.follower.switches = replace(one.follower.switches)
    await pass_by(clock, both, 20)
    one.count(compared=3, matched=3)
    await pass_by(clock, both, 20)
    assert (one.rung().compared, one.rung().matched) == (10, 9)


async def test_without_the_cluster_a_host_shows_its_own(
    server: Callable[[str], Server], clock: Clock, fleet: Fleet
) -> None:
    one = server("one")
    one.count(native=10)
    cut = gateway(fleet.host("two", "http://127.0.0.1:1"))
    assert cut.of_all({str(A): one.counted})[str(A)].requests == 10
