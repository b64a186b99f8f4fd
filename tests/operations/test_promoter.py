from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from graft.figures.route_figures import RouteFigures
from graft.operations.climb import start_climb, stop_climb
from graft.operations.hold import hold
from graft.operations.locks import FileLease
from graft.operations.mirror import mirror
from graft.operations.promoter import RESTS, Promoter, move
from graft.operations.promotion import Standing
from graft.operations.rollback import rollback, rollback_all
from graft.operations.shift import shift
from graft.operations.switch import Switch
from graft.operations.trip import trip
from tests.operations.climbing import KEY, Host, figures


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


BAKE_SECONDS, WATCH_SECONDS = Switch().bake[0], Switch().watch
GOOD = {"compared": 2000, "matched": 2000, "native": 2000, "legacy": 2000}


async def climb(host: Host, worker: Promoter, share: float) -> None:
    """Good traffic and time, until the route has come to ``share``."""
    for _ in range(40):
        await worker.look()
        if host.share == share:
            return
        host.pass_by(WATCH_SECONDS, **GOOD)
    raise AssertionError(f"still at {host.share}")


async def test_a_climb_goes_up_by_itself_and_ends_when_the_top_was_watched(host: Host) -> None:
    start_climb(host.state, KEY, by="alice", why="it is ready")
    await climb(host, worker := host.worker(), 100)
    await worker.look()
    host.pass_by(WATCH_SECONDS - 1, **GOOD)
    await worker.look()
    assert host.climbs
    host.pass_by(1)
    await worker.look()
    assert (host.share, host.climbs) == (100, False)
    assert host.operations() == [
        ("climb", "alice"),
        *[("promote", "promotion")] * 4,
        ("native", "promotion"),
    ]
    assert [event.after.get("share") for event in reversed(host.state.history(KEY))] == [None, 1, 10, 50, 100, None]
    assert "watched for 300 s; compared: 2000 requests" in (host.state.history(KEY)[0].why or "")


async def test_a_route_stays_on_its_rung_for_the_least_time_however_much_was_compared(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 1)
    await worker.look()
    host.pass_by(BAKE_SECONDS - 1, **GOOD)
    await worker.look()
    assert host.share == 1
    host.pass_by(1)
    await worker.look()
    assert host.share == 10


@pytest.mark.parametrize("share", [1, 50, 100])
async def test_a_rollback_is_never_climbed_over(host: Host, share: float) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), share)
    rollback(host.state, KEY, by="bob", why="wrong totals")
    for _ in range(5):
        host.pass_by(WATCH_SECONDS, **GOOD)
        await worker.look()
    assert (host.share, host.climbs) == (0, False)
    assert host.operations()[-1] == ("rollback", "bob")


async def test_a_rollback_of_a_route_that_is_still_dark_ends_its_climb_as_well(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    [back] = rollback_all(host.state, by="bob")
    assert (back.before.climb, back.after.climb) == ("alice", None)
    host.pass_by(WATCH_SECONDS, **GOOD)
    await host.worker().look()
    assert host.share == 0


async def test_a_share_that_a_person_sets_stays(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 10)
    shift(host.state, KEY, 5, by="bob")
    host.pass_by(WATCH_SECONDS, **GOOD)
    await worker.look()
    assert (host.share, host.climbs) == (5, False)


async def test_a_share_that_is_set_in_the_file_by_hand_ends_the_climb_and_the_history_says_so(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 10)
    text = host.state.path.read_text()
    host.state.path.write_text(text.replace("\nshare = 10\n", "\nshare = 2\n"))
    host.pass_by(WATCH_SECONDS, **GOOD)
    await worker.look()
    assert (host.share, host.climbs) == (2, False)
    assert host.operations()[-1] == ("stop", "promotion")
    assert host.state.history(KEY)[0].why == "the share was set to 2 by hand"


async def test_what_was_decided_before_a_person_acted_is_not_done_after_it(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 1)
    await worker.look()
    host.pass_by(WATCH_SECONDS, **GOOD)
    switch = host.switches[KEY]
    decided = Standing.of(KEY, switch, host.state.baselines.begin(KEY, switch, host.counted, "server"))
    rollback(host.state, KEY, by="bob")
    assert move(host.state, decided) is None
    assert host.share == 0


@pytest.mark.parametrize("share", [1, 50, 100])
async def test_at_a_closed_gate_it_goes_back_also_from_the_top(host: Host, share: float) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), share)
    await worker.look()
    host.pass_by(1, compared=100, matched=20, native=100)
    await worker.look()
    assert (host.share, host.climbs) == (0, False)
    event = host.state.history(KEY)[0]
    assert (event.operation, event.by, event.before["share"]) == ("demote", "promotion", share)
    assert "closed: parity" in (event.why or "")
    assert host.switches[KEY].mirror == 100


async def test_a_gate_that_closes_where_no_user_is_touched_ends_the_climb_and_goes_nowhere(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    worker = host.worker()
    await worker.look()
    host.pass_by(1, compared=100, matched=0)
    await worker.look()
    assert host.operations() == [("climb", "alice"), ("stop", "promotion")]


async def test_a_hold_ends_a_climb_where_it_is(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 10)
    hold(host.state, KEY, "not above 10 before Monday", by="bob")
    host.pass_by(WATCH_SECONDS, compared=100, matched=0)
    await worker.look()
    assert (host.share, host.climbs) == (10, False)


async def test_a_trip_and_a_mirror_that_is_switched_off_end_a_climb(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, host.worker(), 10)
    assert trip(host.state, KEY, "5 of 5 native answers failed within 60 s")
    assert not host.climbs
    shift(host.state, KEY, 0, by="bob")
    start_climb(host.state, KEY, by="alice")
    mirror(host.state, KEY, 0, by="bob")
    assert not host.climbs


async def test_a_mirror_that_is_switched_off_by_hand_stays_off_and_nothing_moves(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 10)
    host.state.path.write_text(host.state.path.read_text() + "mirror = 0\n")
    for _ in range(3):
        host.pass_by(WATCH_SECONDS, **GOOD)
        await worker.look()
    assert (host.share, host.switches[KEY].mirror, host.climbs) == (10, 0, True)


async def test_stop_leaves_the_share_where_it_is(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker(), 10)
    assert stop_climb(host.state, KEY, by="bob").before.climb == "alice"
    assert stop_climb(host.state, KEY, by="bob").before.climb is None
    host.pass_by(WATCH_SECONDS, **GOOD)
    await worker.look()
    assert (host.share, host.operations()[-1]) == (10, ("stop", "bob"))


async def test_a_second_start_changes_nothing_and_a_dark_mirror_is_switched_on_with_the_first(host: Host) -> None:
    mirror(host.state, KEY, 0, by="alice")
    start_climb(host.state, KEY, by="alice")
    begun = host.switches[KEY]
    assert begun.mirror == 100
    start_climb(host.state, KEY, by="bob")
    assert host.switches[KEY] == begun


# One of several workers


async def test_one_worker_drives_and_the_next_one_takes_over(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    first, second = host.worker(), host.worker()
    await first.look()
    host.pass_by(WATCH_SECONDS, **GOOD)
    await second.look()
    assert host.share == 0
    first._lease.give_back()
    await second.look()
    assert host.share == 1


async def test_after_a_restart_the_climb_goes_on_by_what_is_counted_from_then_on(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    await climb(host, worker := host.worker("before"), 10)
    await worker.look()
    host.pass_by(WATCH_SECONDS, **GOOD)
    worker._lease.give_back()
    host.counted = figures()
    later = host.worker("after")
    await later.look()
    assert host.share == 10
    host.pass_by(BAKE_SECONDS, **GOOD)
    await later.look()
    assert host.share == 50


async def test_the_older_figures_of_another_worker_do_not_begin_the_rung_anew(host: Host) -> None:
    start_climb(host.state, KEY, by="alice")
    worker = host.worker()
    older = host.counted
    host.pass_by(1, **GOOD)
    await worker.look()
    switch = host.switches[KEY]
    stale = host.state.baselines.begin(KEY, switch, older, "server")
    assert stale.figures == RouteFigures()
    host.pass_by(1, **GOOD)
    assert host.state.baselines.begin(KEY, switch, host.counted, "server").figures.compared == 2000


async def test_a_climb_goes_by_what_was_mirrored_since_the_route_stands_there(host: Host) -> None:
    """Before the climb began, and by an earlier one that somebody has stopped: the code and the rung are the same."""
    worker = host.worker(routes=[KEY])
    await worker.look()
    host.pass_by(600, **GOOD)
    start_climb(host.state, KEY, by="alice")
    stop_climb(host.state, KEY, by="alice")
    start_climb(host.state, KEY, by="bob")
    await worker.look()
    assert host.share == 1


async def test_after_a_closed_gate_has_ended_it_the_next_climb_does_not_go_by_the_same_figures(host: Host) -> None:
    worker = host.worker(routes=[KEY])
    await worker.look()
    host.pass_by(600, legacy=2000, compared=2000, matched=1800)
    start_climb(host.state, KEY, by="alice")
    await worker.look()
    assert (host.share, host.climbs) == (0, False)
    assert "closed: parity" in (host.state.history(KEY)[0].why or "")
    start_climb(host.state, KEY, by="alice", why="the data is mended")
    await worker.look()
    host.pass_by(60, legacy=2000, compared=2000, matched=2000)
    await worker.look()
    assert host.share == 1


async def test_a_running_promoter_looks_by_itself_and_survives_what_can_not_be_read(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    start_climb(host.state, KEY, by="alice")
    worker = Promoter(host.state, host, host._figures, "server", every=0.005)  # type: ignore[arg-type]
    good = host.state.path.read_text()
    async with worker.running():
        host.state.path.write_text("broken")
        while "no route is promoted until this is mended" not in caplog.text:
            await asyncio.sleep(0.005)
        host.state.path.write_text(good)
        while host.share == 0:
            host.pass_by(1, **GOOD)
            await asyncio.sleep(0.005)
    assert host.share == 1


# The lease


def test_a_lease_is_held_by_one_and_free_when_it_is_given_back(tmp_path: Path) -> None:
    one, other = FileLease(tmp_path / "var" / ".lease"), FileLease(tmp_path / "var" / ".lease")
    assert one.take()
    assert one.take()
    assert not other.take()
    one.give_back()
    assert other.take()
    assert not one.take()
    other.give_back()


def test_a_lease_whose_folder_was_replaced_is_held_by_one_again(tmp_path: Path) -> None:
    one, other = FileLease(tmp_path / "var" / ".lease"), FileLease(tmp_path / "var" / ".lease")
    assert one.take()
    (tmp_path / "var").rename(tmp_path / "away")
    assert other.take()
    assert not one.take()
    other.give_back()


def test_without_a_folder_nobody_holds_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lease = FileLease(tmp_path / "file" / ".lease")
    assert not lease.take()
    lease.give_back()


async def test_what_is_counted_before_anybody_asks_counts(host: Host) -> None:
    worker = host.worker(routes=[KEY])
    await worker.look()
    host.pass_by(600, **GOOD)
    await worker.look()
    rung = host.state.baselines.rung(KEY, host.switches.for_route(KEY), host.counted, "server")
    assert rung is not None
    assert (rung.figures.compared, rung.seconds) == (2000, 600)
    shift(host.state, KEY, 10, by="alice")
    await worker.look()
    host.pass_by(30, **GOOD)
    rung = host.state.baselines.rung(KEY, host.switches.for_route(KEY), host.counted, "server")
    assert rung is not None
    assert (rung.figures.compared, rung.seconds) == (2000, 30)


async def test_one_worker_of_the_host_begins_the_rungs_and_another_one_takes_over(host: Host) -> None:
    first, second = host.worker(routes=[KEY]), host.worker(routes=[KEY])
    await first.look()
    host.pass_by(10, **GOOD)
    await second.look()
    shift(host.state, KEY, 10, by="alice")
    first._lease.give_back()  # it was killed
    for _ in range(RESTS + 1):
        await second.look()
    host.pass_by(30, **GOOD)
    rung = host.state.baselines.rung(KEY, host.switches.for_route(KEY), host.counted, "server")
    assert rung is not None
    assert rung.figures.compared == 2000
