"""The switches of a fleet: what many hosts, many operators and a cluster that is not there make of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graft.errors import FleetUnavailable, RouteHeld
from graft.fleet.cluster import Cluster
from graft.operations.hold import hold
from graft.operations.mirror import mirror
from graft.operations.rollback import rollback
from graft.operations.shift import shift
from graft.operations.trip import trip
from graft.types import RouteKey
from tests.fleet.hosts import A, B, Fleet, gateway, operations, share
from tests.parts import free_port

NOWHERE = "http://127.0.0.1:1"


def test_what_one_host_sets_another_one_follows_with_its_next_look(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 10, by="alice", why="a tenth")
    assert share(one) == 10
    two.keeper.look()
    assert share(two) == 10
    [event] = two.history()
    assert (event.key, event.by, event.why, event.after) == (A, "alice", "a tenth", {"share": 10})


def test_an_empty_fleet_begins_with_switches_toml_and_its_comments_and_only_once(fleet: Fleet) -> None:
    fleet.seed = '# ours\n["GET /a/{id:int}"]\nshare = 25  # since May\n'
    one = gateway(fleet.host("one"))
    assert share(one) == 25
    fleet.seed = '["GET /a/{id:int}"]\nshare = 100\n'
    two = gateway(fleet.host("two"))
    assert share(two) == 25
    shift(two, B, 1, by="bob")
    snapshot = two.cluster.read()
    assert snapshot is not None
    assert "# ours" in snapshot.text
    assert "# since May" in snapshot.text


def test_a_hundred_writers_at_once_lose_nothing_and_the_history_has_each(fleet: Fleet) -> None:
    hosts = [gateway(fleet.host(f"host{number}")) for number in range(5)]
    keys = [RouteKey("GET", f"/{number}") for number in range(100)]

    def edit(number: int) -> None:
        shift(hosts[number % 5], keys[number], number % 100 + 1, by=f"operator{number}")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(edit, range(100)))
    for host in hosts:
        host.keeper.look()
        assert [share(host, key) for key in keys] == [number % 100 + 1 for number in range(100)]
    events = hosts[0].history(last=1000)
    assert sorted(event.by for event in events) == sorted(f"operator{number}" for number in range(100))
    assert hosts[0].last_known.read().revision == 100


def test_a_hold_beats_a_shift_that_was_decided_before_it_was_seen(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 10, by="alice")
    two.keeper.look()
    hold(one, A, "wrong totals", by="alice")
    with pytest.raises(RouteHeld, match="wrong totals"):
        shift(two, A, 50, by="bob")  # host two has not looked since


def test_two_operators_change_two_settings_of_one_route_and_both_stay(fleet: Fleet) -> None:
    hosts = [gateway(fleet.host(name)) for name in ("one", "two")]
    together = threading.Barrier(2)

    def run(number: int) -> None:
        together.wait(30)
        if number:
            mirror(hosts[1], A, 7, by="bob")
        else:
            shift(hosts[0], A, 30, by="alice")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (0, 1)))
    hosts[0].keeper.look()
    switch = hosts[0].on_this_host()[A]
    assert (switch.share, switch.mirror) == (30, 7)


def test_without_the_cluster_every_host_goes_on_and_so_does_one_that_starts_again(fleet: Fleet) -> None:
    one = gateway(fleet.host("one"))
    shift(one, A, 30, by="alice")
    one.keeper.end()
    cut = gateway(fleet.host("one", NOWHERE))
    assert share(cut) == 30
    assert cut.read()[A].share == 30
    assert "can't be reached" in (cut.keeper.problem or "")


def test_a_change_without_the_cluster_is_refused_and_says_what_works(fleet: Fleet) -> None:
    shift(gateway(fleet.host("one")), A, 30, by="alice")
    with pytest.raises(FleetUnavailable, match="--host"):
        shift(fleet.host("one", NOWHERE), A, 50, by="alice")
    assert share(fleet.host("one")) == 30


def test_a_rollback_of_one_host_works_without_the_cluster_and_goes_to_all_when_it_returns(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 30, by="alice")
    two.keeper.look()
    cut = fleet.of_this_host("two", NOWHERE)
    rollback(cut, A, by="bob", why="wrong totals", hold="wrong totals")
    assert cut.waits
    assert share(gateway(fleet.host("two", NOWHERE))) == 0  # after a restart, too
    assert share(one) == 30
    two.keeper.look()
    one.keeper.look()
    assert (share(one), share(two)) == (0, 0)
    assert one.on_this_host()[A].hold == "wrong totals"
    assert operations(one) == [("shift", "alice"), ("rollback", "bob")]
    assert not two.decisions.read()


def test_the_newer_decision_wins_by_its_number_and_the_other_one_is_kept_and_shown(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 30, by="alice")
    shift(one, B, 30, by="alice")
    two.keeper.look()
    cut = fleet.of_this_host("two", NOWHERE)
    rollback(cut, A, by="bob", why="wrong totals")
    rollback(cut, B, by="bob")
    shift(one, A, 50, by="alice", why="mended")  # knows nothing of bob, and is later for the fleet
    two.keeper.look()
    one.keeper.look()
    assert (share(one), share(two)) == (50, 50)
    assert (share(one, B), share(two, B)) == (0, 0)
    gave_way, shifted = two.history(A)[:2]
    assert (gave_way.operation, gave_way.by, shifted.operation) == ("gave way", "bob", "shift")
    assert "wrong totals" in (gave_way.why or "")
    assert "revision 3 is newer" in (gave_way.why or "")


def test_a_trip_without_the_cluster_holds_here_and_reaches_the_others_later(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 30, by="alice")
    two.keeper.look()
    cut = gateway(fleet.host("two", NOWHERE))
    assert trip(cut, A, "5 of 5 native answers failed within 60 s")
    assert not trip(cut, A, "late")
    assert share(cut) == 0
    two.keeper.look()
    one.keeper.look()
    assert one.on_this_host()[A].tripped == "5 of 5 native answers failed within 60 s"


def test_what_was_decided_here_is_sent_once_where_its_sender_is_killed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = gateway(fleet.host("one"))
    shift(one, A, 30, by="alice")
    cut = fleet.of_this_host("one", NOWHERE)
    rollback(cut, A, by="bob")
    monkeypatch.setattr(one.decisions, "drop", lambda decisions: None)  # killed before it forgot them
    one.keeper.look()
    shift(one, A, 60, by="alice")
    monkeypatch.undo()
    one.keeper.look()
    assert share(one) == 60
    assert operations(one) == [("shift", "alice"), ("rollback", "bob"), ("shift", "alice")]


def test_what_a_writer_could_not_put_into_the_history_the_next_one_does(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))

    def fail(self: Cluster, events: object) -> None:
        raise FleetUnavailable("fleet shop", "takes no history", "Wait.")

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "record", fail)
        shift(one, A, 1, by="alice")
        shift(two, A, 2, by="bob")
    assert operations(one) == [("shift", "alice"), ("shift", "bob")]  # of the document itself
    shift(one, A, 3, by="carol")
    assert [event.by for event in two.cluster.newest(None, 10)] == ["carol", "bob", "alice"]


def test_an_answer_that_is_lost_makes_no_second_change(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    one = gateway(fleet.host("one"))
    write = Cluster.write
    lost = []

    def lose(self: Cluster, snapshot: object) -> object:
        written = write(self, snapshot)  # type: ignore[arg-type]
        if not lost:
            lost.append(written)
            return write(self, snapshot)  # type: ignore[arg-type]  # as the client does, which had no answer
        return written

    monkeypatch.setattr(Cluster, "write", lose)
    transition = shift(one, A, 1, by="alice")
    assert (transition.before.share, transition.after.share) == (0, 1)
    assert operations(one) == [("shift", "alice")]


def test_marks_lead_through_the_history_in_its_order(fleet: Fleet) -> None:
    one = gateway(fleet.host("one"))
    shift(one, A, 1, by="alice")
    mark = one.newest_mark()
    assert one.changes_after(mark, 10) == []
    shift(one, A, 2, by="alice")
    shift(one, B, 3, by="alice")
    (first, behind), (second, end) = one.changes_after(mark, 10)
    assert (first.after["share"], second.after["share"]) == (2, 3)
    assert [event.id for event, _ in one.changes_after(behind, 10)] == [second.id]
    assert one.changes_after(end, 10) == []


def test_switches_that_nobody_can_read_change_nothing_and_are_told(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 30, by="alice")
    two.keeper.look()
    snapshot = one.cluster.read()
    assert snapshot is not None
    one.cluster.write(snapshot.next('["GET /a"]\nshare = 400\n', (), (), {}))
    for _ in range(2):
        two.keeper.look()
        assert share(two) == 30
        assert "400" in (two.keeper.problem or "") or "can't be read" in (two.keeper.problem or "")


def test_a_rollback_puts_what_is_known_in_the_place_of_switches_that_nobody_can_read(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 30, by="alice")
    shift(one, B, 30, by="alice")
    snapshot = one.cluster.read()
    assert snapshot is not None
    one.cluster.write(snapshot.next("share = ", (), (), {}))
    aside = one.set_broken_aside(or_empty=True)
    assert aside is not None
    assert Path(aside).read_text() == "share = "
    assert one.set_broken_aside(or_empty=True) is None
    rollback(one, A, by="alice")
    two.keeper.look()
    assert (share(two), share(two, B)) == (0, 30)


def test_a_fleet_whose_document_is_gone_begins_anew_with_what_a_host_knows(fleet: Fleet) -> None:
    one, two = gateway(fleet.host("one")), gateway(fleet.host("two"))
    shift(one, A, 30, by="alice")
    two.keeper.look()
    one.cluster.client().delete(index="graft-fleet-switches", id=fleet.name)
    fresh = fleet.host("three")
    two.keeper.look()
    assert share(gateway(fresh)) == 30
    shift(fresh, A, 40, by="carol")
    one.keeper.look()
    assert share(one) == 40


def test_an_older_state_is_believed_when_it_stays(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    one = gateway(fleet.host("one"))
    shift(one, A, 30, by="alice")
    before = one.cluster.read()
    shift(one, A, 60, by="alice")
    now = one.cluster.read()
    assert before is not None
    assert now is not None
    assert now.version is not None
    one.cluster.write(before.at(now.version))  # a snapshot that was restored
    one.keeper.look()
    assert share(one) == 60
    monkeypatch.setattr("graft.fleet.keeper.BACK_SECONDS", 0.0)
    one.keeper.look()
    assert share(one) == 30


def test_a_port_that_nobody_answers_at_is_no_cluster(fleet: Fleet) -> None:
    with pytest.raises(FleetUnavailable):
        fleet.host("one", f"http://127.0.0.1:{free_port()}").read()
