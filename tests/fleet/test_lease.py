"""The leases of a fleet: one host does what is done for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graft.errors import FleetUnavailable
from graft.fleet import lease as module
from graft.fleet.fleet_state import FleetState
from graft.fleet.lease import FREE_AFTER, MARGIN, RENEW_AFTER, FleetLease
from graft.operations.baselines import Rung
from graft.operations.climb import start_climb
from graft.operations.hold import hold
from graft.operations.promotion import Standing, promote
from graft.operations.shift import shift
from graft.operations.state import PROMOTION
from tests.fleet.hosts import A, Clock, Fleet, gateway, share


@pytest.fixture
def host(fleet: Fleet, clock: Clock) -> Callable[[str], FleetState]:
    """A host whose monotonic clock is ``clock``."""

    def make(name: str) -> FleetState:
        state = fleet.host(name)
        state.keeper._clock = clock
        state.lease("promotion")
        return gateway(state)

    return make


def promotion(state: FleetState) -> FleetLease:
    return state.lease("promotion")


def test_one_host_has_it_until_it_gives_it_back(host: Callable[[str], FleetState]) -> None:
    one, two = host("one"), host("two")
    assert promotion(one).take()
    assert promotion(one).take()
    two.keeper.look()
    assert not promotion(two).take()
    promotion(one).give_back()
    one.keeper.look()
    two.keeper.look()
    assert promotion(two).take()
    assert not promotion(one).take()


def test_of_hosts_that_ask_at_once_one_has_it(host: Callable[[str], FleetState]) -> None:
    hosts = [host(name) for name in "abcde"]
    assert [promotion(each).take() for each in hosts].count(True) == 1


def test_a_dead_holders_is_free_when_it_was_not_renewed_for_long_enough(
    host: Callable[[str], FleetState], clock: Clock
) -> None:
    one, two = host("one"), host("two")
    assert promotion(one).take()
    two.keeper.look()
    clock.seconds += FREE_AFTER - 1
    two.keeper.look()
    assert not promotion(two).take()
    clock.seconds += 1
    assert not promotion(two).take()  # it has not looked since: the holder may well have renewed it
    two.keeper.look()
    assert promotion(two).take()
    assert (promotion(one).term(), promotion(two).term()) == (None, 2)


def test_who_renews_keeps_it_however_long(host: Callable[[str], FleetState], clock: Clock) -> None:
    one, two = host("one"), host("two")
    assert promotion(one).take()
    for _ in range(10):
        clock.seconds += RENEW_AFTER
        assert promotion(one).take()
        two.keeper.look()
        assert not promotion(two).take()


def test_its_holder_stops_before_anybody_else_begins(
    host: Callable[[str], FleetState], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = host("one")
    assert promotion(one).take()

    def fail(*_: object) -> None:
        raise FleetUnavailable("fleet shop", "can't be reached", "Wait.")

    monkeypatch.setattr(one.cluster, "write_lease", fail)
    clock.seconds += RENEW_AFTER
    assert promotion(one).take()  # for a moment it may well be without the cluster
    clock.seconds = 1000 + FREE_AFTER - MARGIN + 0.1
    assert promotion(one).term() is None
    with pytest.raises(FleetUnavailable):
        promotion(one).take()


def test_only_the_worker_that_asks_for_its_host_can_have_it(fleet: Fleet) -> None:
    one, other = fleet.host("one"), fleet.host("one")
    for worker in (one, other):
        worker.lease("promotion")
        gateway(worker)
    assert not promotion(other).take()
    assert promotion(one).take()
    one.keeper.end()
    other.keeper.look()
    assert promotion(other).take()


def test_a_holder_that_slept_is_kept_from_promoting_by_the_term_of_the_next_one(
    host: Callable[[str], FleetState], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = host("one"), host("two")
    start_climb(one, A, by="alice")
    two.keeper.look()
    assert promotion(one).take()
    two.keeper.look()
    standing = Standing.of(A, one.read()[A], Rung())
    clock.seconds += FREE_AFTER
    two.keeper.look()
    assert promotion(two).take()
    assert promote(two, Standing.of(A, two.read()[A], Rung()), by=PROMOTION)
    clock.seconds -= FREE_AFTER  # it believes in its lease: its own clock stood still
    assert promotion(one).term() == 1
    shift(one, A, 0, by="alice")
    start_climb(one, A, by="alice")
    monkeypatch.setattr(module, "FREE_AFTER", FREE_AFTER)
    assert not promote(one, Standing.of(A, one.read()[A], standing.rung), by=PROMOTION)
    assert share(one) == 0


def test_a_hold_that_another_host_made_beats_a_step_that_was_decided_without_it(
    host: Callable[[str], FleetState],
) -> None:
    one, two = host("one"), host("two")
    start_climb(one, A, by="alice")
    assert promotion(one).take()
    standing = Standing.of(A, one.read()[A], Rung())
    hold(two, A, "not before Monday", by="bob")
    assert not promote(one, standing, by=PROMOTION)
    one.keeper.look()
    assert one.on_this_host()[A].hold == "not before Monday"


def test_how_far_webhooks_have_come_the_next_holder_knows(host: Callable[[str], FleetState], tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    places = one.places("promotion", tmp_path / "unused")
    assert promotion(one).take()
    assert places.of("address") is None
    places.keep("address", {"revision": 7, "number": 1})
    assert promotion(one).take()
    promotion(one).give_back()
    one.keeper.look()
    with pytest.raises(FleetUnavailable, match="another host's by now"):
        places.keep("address", {"revision": 8, "number": 0})
    two.keeper.look()
    assert promotion(two).take()
    assert two.places("promotion", tmp_path / "unused").of("address") == {"revision": 7, "number": 1}
