"""The mirror budget: an idle worker mirrors everything, on a busy one users come first, and no route goes short."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from graft.mirroring import job_queue as module
from graft.mirroring.budget import LEAST, SAVED, TICK, Budget, waited_for_a_processor
from graft.mirroring.metering import Meter, current, metered
from graft.settings import Settings
from graft.types import RouteKey
from tests.deploy.running import site
from tests.mirroring.test_mirror import Desk, hang
from tests.parts import free_port, wait_until
from tests.switching.asking import KEY, Told, ask, says

Rates = dict[RouteKey, float]

BUSY, SELDOM, OTHER = RouteKey("GET", "/busy"), RouteKey("GET", "/seldom"), RouteKey("GET", "/other")


class Worker:
    """A worker by a clock of its own: users take ``users`` of each second, mirrored requests ``costs``, and at most as
    many of them run as there is room for."""

    def __init__(self, percent: float, users: float = 0.0) -> None:
        self.users = users
        self.now = self.cpu = self.waited = 0.0
        self.crowded = False
        self.budget = Budget(
            percent,
            crowded=lambda: self.crowded,
            clock=lambda: self.now,
            cpu=lambda: self.cpu,
            waited=lambda: self.waited,
        )
        self.waiting: list[RouteKey] = []
        self.mirrored: dict[RouteKey, int] = {}
        self.asked: dict[RouteKey, int] = {}
        self.spent = 0.0

    def run(
        self, seconds: float, rates: dict[RouteKey, float], costs: dict[RouteKey, float], late: float = 0.0
    ) -> None:
        random.seed(7)
        self.mirrored, self.asked, self.spent = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0), 0.0
        due = dict.fromkeys(rates, 0.0)
        for _ in range(round(seconds / TICK)):
            for _step in range(25):
                for key, rate in rates.items():
                    due[key] += rate * TICK / 25
                    while due[key] >= 1:
                        due[key] -= 1
                        self.asked[key] += 1
                        if self.budget.admits(key):
                            self.waiting.append(key)
                self.cpu += self.users * TICK / 25
                while self.waiting and self.budget.has_room:
                    key = self.waiting.pop(0)
                    self.budget.spend(key, costs[key])
                    self.cpu += costs[key]
                    self.spent += costs[key]
                    self.mirrored[key] += 1
            self.now += TICK + late
            self.budget.tick(self.waiting)


def test_on_an_idle_worker_everything_is_mirrored() -> None:
    worker = Worker(10, users=0.05)
    worker.run(60, {BUSY: 50, SELDOM: 0.2}, {BUSY: 0.001, SELDOM: 0.01})
    assert worker.mirrored == worker.asked


def test_a_burst_on_an_idle_worker_is_mirrored_as_a_whole() -> None:
    worker = Worker(10, users=0.01)
    worker.run(10, {BUSY: 1}, {BUSY: 0.001})
    worker.run(TICK, {BUSY: 400}, {BUSY: 0.001})
    worker.run(5, {BUSY: 1}, {BUSY: 0.001})
    assert worker.waiting == []
    assert worker.mirrored[BUSY] >= 4


@pytest.mark.parametrize("percent", [2.0, 10.0, 50.0])
def test_mirrors_take_no_more_than_the_budget(percent: float) -> None:
    worker = Worker(percent, users=0.3)
    worker.run(20, {BUSY: 1000}, {BUSY: 0.002})
    assert 0.7 * percent / 100 <= worker.spent / 20 <= 1.1 * percent / 100 + 0.01


def test_users_come_first_and_a_saturated_worker_still_has_evidence() -> None:
    worker = Worker(10, users=1.0)
    worker.run(5, {BUSY: 4000}, {BUSY: 0.0003})
    worker.run(20, {BUSY: 4000}, {BUSY: 0.0003})
    assert 0.5 * LEAST * 0.1 < worker.spent / 20 <= 1.3 * LEAST * 0.1


def test_a_saturated_worker_has_spent_no_more_than_it_had_saved_when_it_notices() -> None:
    worker = Worker(10, users=0.05)
    worker.run(20, {BUSY: 10}, {BUSY: 0.001})
    worker.users = 0.95
    worker.run(1, {BUSY: 4000}, {BUSY: 0.0003})
    assert worker.spent <= 0.1 * SAVED + 0.05


@pytest.mark.parametrize("sign", ["late", "crowded"])
def test_a_loop_that_wakes_late_and_a_pool_with_a_queue_count_as_saturated(sign: str) -> None:
    worker = Worker(10, users=0.1)
    worker.crowded = sign == "crowded"
    worker.run(5, {BUSY: 1000}, {BUSY: 0.002}, late=0.05 if sign == "late" else 0.0)
    worker.run(30, {BUSY: 1000}, {BUSY: 0.002}, late=0.05 if sign == "late" else 0.0)
    assert worker.spent / worker.now < 2 * LEAST * 0.1


def test_a_worker_that_waits_for_a_processor_is_saturated_with_little_of_its_time() -> None:
    worker = Worker(10, users=0.3)
    worker.run(5, {BUSY: 1000}, {BUSY: 0.002})
    whole = worker.spent
    for _ in range(4 * 20):
        worker.waited += 0.6 * TICK
        worker.run(TICK, {BUSY: 1000}, {BUSY: 0.002})
    assert 0 < worker.spent < whole / 5 / 4


def test_what_the_loop_waited_for_a_processor_only_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = waited_for_a_processor()
    burn(0.02)
    assert waited_for_a_processor() >= before >= 0
    monkeypatch.setattr("os.open", lambda *_: (_ for _ in ()).throw(OSError))
    assert waited_for_a_processor() == 0.0


def test_time_comes_in_bit_by_bit_and_not_all_at_once_with_a_tick() -> None:
    worker = Worker(10)
    worker.budget.spend(BUSY, 0.1 * SAVED)
    assert not worker.budget.has_room
    worker.now += TICK / 10
    assert worker.budget.has_room
    worker.budget.spend(BUSY, 0.1 * TICK / 10)
    assert not worker.budget.has_room


def test_a_seldom_route_has_its_evidence_beside_one_that_could_take_everything() -> None:
    worker = Worker(10, users=0.95)
    worker.run(5, {BUSY: 2000, SELDOM: 2, OTHER: 500}, {BUSY: 0.0003, SELDOM: 0.001, OTHER: 0.0005})
    worker.run(20, {BUSY: 2000, SELDOM: 2, OTHER: 500}, {BUSY: 0.0003, SELDOM: 0.001, OTHER: 0.0005})
    assert worker.mirrored[SELDOM] >= 0.8 * worker.asked[SELDOM]
    busy, other = (worker.mirrored[BUSY] * 0.0003, worker.mirrored[OTHER] * 0.0005)
    assert 0.5 < busy / other < 2  # the rest, in equal parts


def test_a_hundred_percent_is_no_limit_and_nothing_is_nothing() -> None:
    unlimited, none = Worker(100, users=1.0), Worker(0, users=0.0)
    for worker in (unlimited, none):
        worker.run(5, {BUSY: 500}, {BUSY: 0.01})
    assert unlimited.mirrored == unlimited.asked
    assert none.mirrored == {BUSY: 0}


def test_the_setting_is_a_share_in_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_MIRROR_BUDGET", raising=False)
    assert Settings.load().mirror_budget == 10
    monkeypatch.setenv("GRAFT_MIRROR_BUDGET", "2.5")
    assert Settings.load().mirror_budget == 2.5


def test_a_new_twin_is_mirrored_by_itself_within_the_budget(tmp_path: Path) -> None:
    """Nothing is set for it: a worker with little to do compares all of it."""
    options = {"GRAFT_LEGACY": "tests.deploy.site.hostile:app", "GRAFT_MIRROR_BUDGET": "10", "WEB_CONCURRENCY": "1"}
    options["GRAFT_ADMIN_TOKEN"] = "a-token"
    with site(tmp_path, f"127.0.0.1:{free_port()}", **options) as process, process.client() as client:

        def row() -> dict[str, Any]:
            rows = client.get("/_graft/api/routes", headers={"Authorization": "Bearer a-token"}).json()["routes"]
            return next(row for row in rows if row["route"] == "GET /echoed")

        def told() -> tuple[int, int]:
            now = row()
            return now["different"], now["skipped"] + now["failed"]

        def are_all_compared() -> bool:
            """Ten more. Not so where other programs have the machine, and with it the worker's time."""
            (different, left_out), asked = told(), 10
            for _ in range(asked):
                assert client.get("/echoed?x=1").json()["side"] == "legacy"
            wait_until(lambda: sum(told()) == different + left_out + asked, 30, "all of it to be counted")
            return told() == (different + asked, left_out)

        wait_until(are_all_compared, 60, "all of it to be compared")
        assert row()["share"] == 0


# In the mirror


class Closed(Budget):
    """A budget that is spent, until ``open``."""

    def __init__(self) -> None:
        super().__init__(50)
        self.open = False

    @property
    def has_room(self) -> bool:
        return self.open

    def tick(self, waiting: Iterable[RouteKey] = ()) -> None:
        pass


async def test_what_is_over_the_budget_is_counted_as_skipped_and_answered_all_the_same() -> None:
    native = Told({"a": 1})
    async with Desk(native, says({"a": 1}), budget=Budget(0)) as desk:
        for _ in range(30):
            assert (await ask(desk.board)).json == {"a": 1}
        await desk.until("skipped budget", 30)
    assert native.calls == 0


async def test_mirrors_wait_while_there_is_no_room_and_run_when_there_is() -> None:
    budget = Closed()
    async with Desk(says({"a": 1}), says({"a": 1}), budget=budget) as desk:
        for _ in range(10):
            await ask(desk.board)
        await asyncio.sleep(0.05)
        assert desk.counted["matched"] == 0
        budget.open = True
        await desk.until("matched", 10)


@pytest.mark.parametrize(("percent", "reason"), [(50, "budget"), (100, "late")])
async def test_a_mirror_that_waited_too_long_is_given_up(
    percent: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit it is not the budget that was in its way, and more of it would be in vain."""
    monkeypatch.setattr(module, "OLDEST", 0.0)
    async with Desk(hang, says({"a": 1}), budget=Budget(percent), at_once=1) as desk:
        for _ in range(2):  # the first one has the place
            await ask(desk.board)
        await desk.until(f"skipped {reason}")
    assert desk.counted["matched"] == 0


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_what_a_mirror_costs_is_what_it_takes_on_the_loop_and_in_threads() -> None:
    spent: list[float] = []

    class Watched(Budget):
        def spend(self, key: RouteKey, seconds: float) -> None:
            assert key == KEY
            spent.append(seconds)

    async def before(request: Request) -> None:
        burn(0.03)
        await asyncio.sleep(1)  # others' time
        burn(0.03)

    async with Desk(Told({"a": 1}, before=before), says({"a": 2}), budget=Watched(50)) as desk:
        await ask(desk.board)
        await desk.until("different")
    [seconds] = spent
    assert 0.06 <= seconds < 1


async def test_a_meter_counts_steps_and_passes_on_what_comes_and_goes() -> None:
    meter = Meter()

    async def work() -> str:
        burn(0.01)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        except TimeoutError:
            burn(0.01)
        return "done"

    assert await meter.awaited(work()) == "done"
    assert 0.02 <= meter.seconds < 1

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await meter.awaited(fails())
    task = asyncio.create_task(meter.awaited(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_legacy_app_is_counted_in_its_thread() -> None:
    meter = Meter()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        burn(0.01)
        return [environ["x"]]

    token = current.set(meter)
    assert metered(app)({"x": b"1"}, None) == [b"1"]
    current.reset(token)
    assert meter.seconds >= 0.01
    assert metered(app)({"x": b"2"}, None) == [b"2"]
