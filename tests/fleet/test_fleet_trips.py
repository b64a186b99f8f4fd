"""Trips over the fleet: what is too much on all hosts together takes the route from the native side on all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import anyio
import pytest

from graft.errors import FleetUnavailable
from graft.fleet.fleet_state import FleetState
from graft.fleet.fleet_trips import FleetTrips, too_many
from graft.operations.shift import shift
from graft.operations.switch import Trip
from graft.operations.trip import trip
from graft.switching.host_failures import HostFailures
from graft.switching.trip_counts import TripCounts
from graft.switching.trips import Window
from tests.fleet.hosts import A, Fleet, gateway, share
from tests.fleet.trips_simulation import failures

TRIP = Trip()


@dataclass
class Counting:
    """A host that serves A natively."""

    state: FleetState
    window: Window
    trips: FleetTrips

    def answers(self, well: int, failed: int) -> None:
        for _ in range(well):
            self.window.succeeded(time.monotonic())
        for _ in range(failed):
            assert self.window.failed(time.monotonic()) is None


@pytest.fixture
def counting(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Counting]:
    def make(name: str, url: str | None = None) -> Counting:
        state = gateway(fleet.host(name, url))
        follower = state.follow()
        state.keeper.rests.hosts = 2
        counts = TripCounts()
        window = Window(TRIP, counts.row(A), counts)
        trips = FleetTrips(state, HostFailures(counts, partial(trip, state)))
        server = f"server-of-{name}"

        async def look() -> None:
            with monkeypatch.context() as patch:
                patch.setattr("graft.fleet.fleet_trips.own_server", lambda: server)
                patch.setattr("socket.gethostname", lambda: name)
                await follower.look()
                await FleetTrips.look(trips)

        trips.look = look  # type: ignore[method-assign]
        return Counting(state, window, trips)

    return make


async def test_three_failures_on_each_of_two_hosts_are_six_of_the_fleet(counting: Callable[[str], Counting]) -> None:
    one, two = counting("web-1"), counting("web-2")
    shift(one.state, A, 100, by="alice")
    two.state.keeper.look()
    one.answers(10, 3)
    await one.trips.look()
    two.answers(10, 3)
    assert share(two.state) == 100
    await two.trips.look()
    assert two.window.tripped
    assert share(two.state) == 0
    one.state.keeper.look()
    switch = one.state.on_this_host()[A]
    assert switch.share == 0
    assert switch.tripped is not None
    assert "6 of 26 native answers failed within 60 s, on 2 of 2 hosts" in switch.tripped
    assert "web-1 3" in switch.tripped
    assert "web-2 3" in switch.tripped
    await one.trips.look()
    assert [event.operation for event in one.state.history()] == ["trip", "shift"]  # once


async def test_failures_of_before_the_route_was_set_again_do_not_count(counting: Callable[[str], Counting]) -> None:
    one, two = counting("web-1"), counting("web-2")
    shift(one.state, A, 100, by="alice")
    two.state.keeper.look()
    one.answers(0, 3)
    await one.trips.look()
    shift(one.state, A, 50, by="alice")
    two.state.keeper.look()
    two.answers(0, 3)
    await two.trips.look()
    assert share(two.state) == 50


async def test_a_host_tells_once_what_it_has_told_and_nothing_of_failures_that_are_few(
    counting: Callable[[str], Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = counting("web-1")
    shift(one.state, A, 100, by="alice")
    told: list[object] = []
    tell = one.state.cluster.tell_failures

    def counted(*what: object) -> object:
        told.append(what)
        return tell(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(one.state.cluster, "tell_failures", counted)
    one.answers(99, 1)
    await one.trips.look()
    assert told == []  # one percent, where ten are too many
    one.answers(0, 4)
    for _ in range(3):
        await one.trips.look()
    assert told == []  # not yet half of it
    one.answers(0, 2)
    for _ in range(3):
        await one.trips.look()
    assert len(told) == 1


async def test_without_the_cluster_a_host_counts_by_itself_and_goes_on_when_it_is_there(
    counting: Callable[[str], Counting], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = counting("web-1"), counting("web-2")
    shift(one.state, A, 100, by="alice")
    two.state.keeper.look()
    two.answers(0, 2)
    await two.trips.look()
    asked: list[int] = []

    def fail(*_: object) -> None:
        asked.append(1)
        raise FleetUnavailable("fleet shop", "can't be reached", "Wait.")

    with caplog.at_level(logging.INFO), monkeypatch.context() as patch:
        patch.setattr(one.state.cluster, "tell_failures", fail)
        async with one.trips.running():
            one.answers(0, 1)
            with anyio.fail_after(30):
                while not asked:
                    await asyncio.sleep(0.01)
                patch.undo()
                one.answers(0, 3)
                while share(one.state):
                    await asyncio.sleep(0.01)
    assert "could not be told" not in caplog.text


def test_hosts_that_tell_at_once_lose_nothing(fleet: Fleet) -> None:
    state = fleet.host("one")

    def tell(number: int) -> int:
        own = {"host": f"web-{number}", "at": time.time(), "cells": [[0, 2, 1]]}
        return len(state.cluster.tell_failures(A, 7, f"server-{number}", own))

    with ThreadPoolExecutor(10) as pool:
        assert max(pool.map(tell, range(40))) == 40


def test_what_is_too_much_goes_by_all_hosts_and_not_by_those_alone_that_failed() -> None:
    counted = [("web-1", 100, 4), ("web-2", 100, 4)]
    assert too_many(counted, 2, TRIP) is None  # four of a hundred
    assert too_many([("web-1", 10, 4)], 20, TRIP) is None  # one alone: its workers know
    assert too_many([("web-1", 10, 2), ("web-2", 10, 2)], 2, TRIP) is None  # four failures
    assert too_many([("web-1", 10, 3), ("web-2", 10, 2)], 2, TRIP) is not None
    assert too_many([("web-1", 10, 3), ("web-2", 10, 2)], 20, TRIP) is None  # eighteen have none


@pytest.mark.parametrize("well", [0.0, 60.0])
async def test_with_twenty_hosts_hardly_more_users_see_a_failure_than_with_one(well: float) -> None:
    """At two requests a second; where hundreds come in the time that news take, it is more."""
    logging.disable()
    try:
        one, _ = await failures(1, 5, requests=2.0, rate=1.0, well=well)
        for hosts in (2, 20):
            together, writes = await failures(hosts, 5, requests=2.0, rate=1.0, well=well)
            assert together <= 2 * one
            assert writes <= 2 * together
        alone, _ = await failures(20, 5, requests=2.0, rate=1.0, well=well, together=False)
        assert alone > 2 * one
    finally:
        logging.disable(logging.NOTSET)
