"""Trips count the failures of all workers of a server: simulated with many, and with real ones under Gunicorn."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from graft.operations.switch import Trip
from graft.operations.switches import load
from graft.switching.trip_counts import SUFFIX, TripCounts
from graft.switching.trips import Window
from graft.types import RouteKey
from tests.deploy.running import site
from tests.parts import free_port, wait_until

KEY = RouteKey("POST", "/write")


@pytest.fixture(autouse=True)
def _made_up_workers_exist(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        monkeypatch.setattr(psutil, "pid_exists", lambda pid: True)


class Worker:
    """One worker of a server that shares ``folder``; each has a Python process of its own in life."""

    def __init__(self, folder: Path, pid: int, trip: Trip = Trip(), generation: int = 7) -> None:  # noqa: B008
        self.counts = TripCounts()
        self.row = self.counts.row(KEY)
        self.window = Window(trip, self.row, self.counts, generation)
        self.counts.open(folder, pid)


def failures_before_a_trip(folder: Path, workers: int, rate: float, well: float, seed: int) -> int:
    """How many users saw a failure, the one that tripped it included: at 200 requests a second, all of them well for
    ``well`` seconds, and then failing at ``rate``."""
    chance = random.Random(seed)
    all_of_them = [Worker(folder, 1000 + number) for number in range(workers)]
    now, failed = 1000.0, 0
    while True:
        now += 1 / 200
        window = chance.choice(all_of_them).window
        if window.tripped:
            return failed
        if now < 1000 + well or chance.random() >= rate:
            window.succeeded(now)
            continue
        failed += 1
        if window.failed(now) is not None:
            window.trip()
            assert all(each.window.tripped for each in all_of_them)


@pytest.mark.parametrize(("rate", "well"), [(0.15, 5), (0.3, 5), (1.0, 5), (0.3, 0), (1.0, 0)])
def test_with_many_workers_no_more_users_see_failures_than_with_one(
    tmp_path: Path,
    rate: float,
    well: float,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("graft.switching.trip_counts.RESCAN_SECONDS", 0.0)
    seen = {
        workers: statistics.median(
            failures_before_a_trip(tmp_path / f"{workers}-{seed}", workers, rate, well, seed) for seed in range(9)
        )
        for workers in (1, 8, 64)
    }
    record_property(f"failures before a trip at a rate of {rate:g} after {well:g} s without any, by workers", seen)
    assert all(failures <= 2 * seen[1] for failures in seen.values()), seen


def test_a_worker_that_is_broken_alone_trips_the_route_although_the_others_are_well(tmp_path: Path) -> None:
    broken, well = Worker(tmp_path, 1), Worker(tmp_path, 2)
    for _ in range(1000):
        well.window.succeeded(5.0)
    reasons = [broken.window.failed(5.0) for _ in range(5)]
    assert reasons == [None] * 4 + ["5 of 5 native answers of one worker failed within 60 s"]


def test_answers_of_the_others_keep_it_open(tmp_path: Path) -> None:
    one, other = Worker(tmp_path, 1), Worker(tmp_path, 2)
    for _ in range(100):
        one.window.succeeded(5.0)
        other.window.succeeded(5.0)
    assert [one.window.failed(5.0) for _ in range(15)] == [None] * 15


def test_what_failed_before_the_route_was_set_again_does_not_count(tmp_path: Path) -> None:
    before, after = Worker(tmp_path, 1, generation=1), Worker(tmp_path, 2, generation=2)
    assert [before.window.failed(5.0) for _ in range(4)] == [None] * 4
    assert [after.window.failed(5.0) for _ in range(4)] == [None] * 4
    Window(Trip(), before.row, before.counts, 2)
    assert after.window.failed(5.1) is not None


def test_old_failures_of_the_others_are_forgotten(tmp_path: Path) -> None:
    one, other = Worker(tmp_path, 1), Worker(tmp_path, 2)
    for _ in range(4):
        assert one.window.failed(5.0) is None
    assert other.window.failed(100.0) is None


def test_a_worker_that_starts_goes_by_a_trip_of_the_others(tmp_path: Path) -> None:
    one = Worker(tmp_path, 1)
    one.window.trip()
    later = Worker(tmp_path, 2)
    assert not later.window.tripped
    later.counts.adopt()
    assert later.window.tripped
    Window(Trip(), later.row, later.counts, 8)
    assert not later.window.tripped


def test_a_file_that_was_taken_away_is_made_anew_and_seen_by_the_others(tmp_path: Path) -> None:
    one, other = Worker(tmp_path, 1), Worker(tmp_path, 2)
    other.window.failed(5.0)
    (tmp_path / f"1{SUFFIX}").unlink()
    one.counts.restore()
    for _ in range(3):
        one.window.failed(5.0)
    time.sleep(0.21)  # what is known of the others is a fifth of a second old at most
    assert other.window.failed(5.0) == "5 of 5 native answers failed within 60 s"


def test_files_of_workers_that_are_gone_stay_as_long_as_their_failures_are_recent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, _ = Worker(tmp_path, 1), Worker(tmp_path, 2)
    gone.window.failed(time.monotonic())
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid == 3)
    Worker(tmp_path, 3)
    assert {path.name for path in tmp_path.iterdir()} == {f"1{SUFFIX}", f"3{SUFFIX}"}


def test_what_a_worker_that_is_gone_has_counted_ends_when_the_route_is_set_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set to 0 and back: the state of the switch is the one of before, which is all that a dead worker's file has."""
    gone, stays = Worker(tmp_path, 1), Worker(tmp_path, 2)
    now = time.monotonic()
    for _ in range(4):
        gone.window.failed(now)
    gone.window.trip()
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != 1)
    Window(Trip(), stays.row, stays.counts, 8)
    again = Window(Trip(), stays.row, stays.counts, 7)
    assert again.failed(time.monotonic()) is None
    later = Worker(tmp_path, 3)
    later.counts.adopt()
    assert not later.window.tripped


def test_what_a_worker_has_counted_that_was_killed_since_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, stays = Worker(tmp_path, 1, Trip(window=1)), Worker(tmp_path, 2, Trip(window=1))
    monkeypatch.setattr("graft.switching.trip_counts.RESCAN_SECONDS", 0.0)
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != 1)
    stays.row.begun -= 10
    now = time.monotonic()
    for _ in range(4):
        gone.window.failed(now)
    assert stays.window.failed(now) is not None


def test_a_strange_file_in_the_folder_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / f"5{SUFFIX}").write_text("nonsense")
    (tmp_path / f"6{SUFFIX}").mkdir()
    worker = Worker(tmp_path, 1)
    assert worker.window.failed(5.0) is None


def test_without_a_folder_a_worker_counts_for_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    worker = Worker(tmp_path / "file" / "metrics", 1)
    assert "Trips count the failures of each worker by itself" in caplog.text
    assert [worker.window.failed(5.0) for _ in range(5)][-1] is not None


def test_real_workers_trip_together_and_go_dark_at_once(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    switches = tmp_path / "switches.toml"
    switches.write_text('["POST /write"]\nshare = 100\n')
    bind = f"127.0.0.1:{free_port()}"
    env = {"GRAFT_LEGACY": "tests.switching.failing:app", "GRAFT_NATIVE": "tests.switching.failing.native"}
    with site(tmp_path, bind, "--workers", "4", ready="/read", **env):

        def write(**headers: str) -> httpx.Response:
            with httpx.Client() as client:  # a connection each: any worker may take it
                return client.post(f"http://{bind}/write", headers=headers)

        def seen() -> set[str]:
            workers.add(write().headers["x-worker"])
            return workers

        workers: set[str] = set()
        wait_until(lambda: len(seen()) == 4, 30, "all workers to have answered")
        answers = [write(**{"x-fail": "1"}) for _ in range(60)]
        failed = [answer for answer in answers if answer.status_code == 500]
        good = len(workers)
        record_property("users saw a failure before 4 real workers had tripped the route", len(failed))
        assert len({answer.headers["x-worker"] for answer in failed}) > 1
        assert len(failed) <= 10, f"{good} good ones before"
        assert {answer.text for answer in answers[len(failed) :]} == {"legacy"}
        wait_until(lambda: load(switches)[KEY].tripped, 5, "the trip to be written")
