from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graft.errors import RouteHeld
from graft.figures.route_figures import RouteFigures
from graft.operations.baselines import Baselines, Rung
from graft.operations.edits import set_switch
from graft.operations.file_state import FileState
from graft.operations.gates import Verdict, gates_of
from graft.operations.hold import hold
from graft.operations.promotion import Standing, demote, promote, step_of
from graft.operations.switch import Gates, Switch
from graft.operations.switches import load
from graft.types import RouteKey
from tests.operations.climbing import KEY, figures

POST = RouteKey("POST", "/thing")


def good(**changes: Any) -> RouteFigures:
    return figures(**{"native": 1000, "legacy": 1000, "compared": 1000, "matched": 1000, "took": (10, 20), **changes})


GOOD = good()


def verdicts(switch: Switch, figures: RouteFigures) -> dict[str, str]:
    return {gate.name: gate.verdict.value for gate in gates_of(KEY, switch, figures)}


# The ladder


def test_the_ladder_goes_from_the_mirror_to_everything() -> None:
    switch, steps = Switch(), []
    while step := step_of(switch):
        steps.append(step)
        switch = replace(switch, **step)
    assert steps == [{"mirror": 100}, {"share": 1}, {"share": 10}, {"share": 50}, {"share": 100}]


def test_a_route_has_a_ladder_and_least_times_of_its_own() -> None:
    switch, steps = Switch(mirror=100, ladder=(5.0, 25.0, 100.0), bake=(600.0, 60.0), watch=3600.0), []
    while step := step_of(switch):
        switch = replace(switch, **step)
        steps.append((step["share"], Standing.of(KEY, switch, Rung()).bake_seconds))
    assert steps == [(5, 600), (25, 60), (100, 3600)]
    assert Standing.of(KEY, replace(switch, share=50.0), Rung()).bake_seconds == 60


def test_without_a_mirror_by_choice_the_ladder_begins_with_a_share() -> None:
    assert step_of(Switch(gates=Gates(mirror=False))) == {"share": 1}


def test_a_share_between_two_rungs_goes_to_the_next() -> None:
    assert step_of(Switch(share=7.5, mirror=20)) == {"share": 10}


# Since the route stands on its rung


class Clock:
    """Seconds that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def baselines(tmp_path: Path, clock: Clock) -> Baselines:
    return Baselines(tmp_path / "data" / "promotions.json", clock)


def since(baselines: Baselines, switch: Switch, now: RouteFigures, key: RouteKey = KEY) -> RouteFigures:
    return baselines.begin(key, switch, now, "server").figures


def test_only_what_happened_on_this_rung_counts(baselines: Baselines) -> None:
    switch = Switch(mirror=100)
    assert since(baselines, switch, GOOD).compared == 0
    assert since(baselines, switch, good(compared=1040)).compared == 40
    assert since(baselines, switch, GOOD, POST).compared == 0
    assert since(baselines, switch, good(compared=1050)).compared == 50
    assert since(baselines, replace(switch, share=1), good(compared=1050)).compared == 0


def test_what_was_compared_under_other_rules_does_not_count(baselines: Baselines) -> None:
    switch = Switch(mirror=100)
    since(baselines, switch, GOOD)
    assert since(baselines, replace(switch, ignore=("body.total",)), good(compared=1040)).compared == 0
    assert since(baselines, replace(switch, ignore=("body.total",)), good(compared=1041)).compared == 1


def test_what_other_code_has_shown_does_not_count(baselines: Baselines) -> None:
    def built(figures: RouteFigures, build: str) -> RouteFigures:
        figures.build = build
        return figures

    switch = Switch(mirror=100)
    since(baselines, switch, built(good(), "a"))
    assert since(baselines, switch, built(good(compared=1040), "a")).compared == 40
    assert since(baselines, switch, built(good(compared=1100), "b")).compared == 0
    assert since(baselines, switch, built(good(compared=1107), "b")).compared == 7


def test_the_latency_is_that_of_this_rung_however_long_the_gateway_was_quick_before(baselines: Baselines) -> None:
    switch = Switch(share=1, mirror=100)
    before = good(took=(10, 20))
    assert since(baselines, switch, before) == RouteFigures()
    assert verdicts(switch, since(baselines, switch, before))["p95"] == "not yet"
    slow = figures(compared=100, matched=100, took=(90, 20))
    assert verdicts(switch, since(baselines, switch, before + slow))["p95"] == "closed"
    assert verdicts(switch, before + before + before + before + slow)["p95"] == "closed"


def test_after_a_restart_of_the_server_the_rung_begins_anew(baselines: Baselines) -> None:
    switch = Switch(mirror=100)
    since(baselines, switch, GOOD)
    assert baselines.begin(KEY, switch, good(compared=700, matched=700), "later").figures.compared == 0
    assert baselines.begin(KEY, switch, good(compared=707, matched=700), "later").figures.compared == 7


def test_the_rungs_of_hundreds_of_routes_are_written_once_and_those_of_others_are_forgotten(tmp_path: Path) -> None:
    """Each as it stands, whoever asks first; nobody's rung begins anew because another one's did."""
    baselines, path = Baselines(tmp_path / "promotions.json"), tmp_path / "promotions.json"
    keys = [RouteKey("GET", f"/things/{number}") for number in range(500)]
    switch = Switch(mirror=100)
    baselines.begin(RouteKey("GET", "/gone"), switch, RouteFigures(), "server")
    baselines.begin_all([(key, switch, RouteFigures()) for key in keys], "server")
    assert json.loads(path.read_text()).keys() == {str(key) for key in keys}
    written = path.stat().st_mtime_ns
    later = [(key, switch, good()) for key in keys]
    baselines.begin_all(later, "server")
    assert path.stat().st_mtime_ns == written
    assert since(baselines, switch, good(), keys[7]).compared == 1000
    shifted = replace(switch, share=10)
    baselines.begin_all([*later[1:], (keys[0], shifted, good())], "server")
    assert since(baselines, switch, good(), keys[7]).compared == 1000
    assert since(baselines, shifted, good(compared=1003), keys[0]).compared == 3


def test_it_is_told_how_long_a_route_stands_there_and_who_only_looks_begins_nothing(
    baselines: Baselines, clock: Clock
) -> None:
    switch = Switch(mirror=100)
    assert baselines.rung(KEY, switch, GOOD, "server") is None
    assert baselines.begin(KEY, switch, GOOD, "server") == Rung()
    clock.now += 90
    rung = baselines.rung(KEY, switch, good(compared=1040), "server")
    assert rung is not None
    assert (rung.seconds, rung.figures.compared) == (90, 40)
    clock.now = 3  # the machine was started again
    assert baselines.rung(KEY, switch, good(compared=1040), "server") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        '{"GET /thing": 3}',
        '{"GET /thing": {"rung": [0, 100]}}',
        '{"GET /thing": {"rung": [0, 100], "figures": {"native": 7, "legacy": 3}}}',
    ],
)
def test_a_broken_file_counts_from_now(tmp_path: Path, text: str) -> None:
    path = tmp_path / "promotions.json"
    path.write_text(text)
    assert since(Baselines(path), Switch(mirror=100.0), GOOD).compared == 0
    assert json.loads(path.read_text())["GET /thing"]["figures"]["mirrored"]["matched"] == 1000


def test_a_file_that_can_not_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert since(Baselines(tmp_path / "file" / "promotions.json"), Switch(), GOOD).compared == 0


# One step


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "switches.toml"
    path.write_text('# ours\n["GET /thing"]\nmirror = 100\n')
    return path


class OneRoute:
    """A route of which so much is known, as a person promotes it step by step."""

    def __init__(self, path: Path, now: RouteFigures = GOOD) -> None:
        self.state = FileState(path, path.parent)
        self.now = now

    def standing(self) -> Standing:
        switch = self.state.read().for_route(KEY)
        return Standing.of(KEY, switch, self.state.baselines.begin(KEY, switch, self.now, "server"))

    def add(self, **more: Any) -> None:
        self.now += figures(**{"took": (10, 20), **more})


def test_a_climb_takes_one_step_and_starts_to_count_anew(path: Path) -> None:
    route = OneRoute(path)
    assert route.standing().verdict is Verdict.NOT_YET
    route.add(compared=2000, matched=2000)
    standing = route.standing()
    assert standing.verdict is Verdict.OPEN
    assert promote(route.state, standing, by="alice")
    assert load(path)[KEY].share == 1
    [event] = route.state.history()
    assert (event.operation, event.by, event.before, event.after) == ("promote", "alice", {"share": 0}, {"share": 1})
    assert event.why is not None
    assert event.why.startswith("compared: 2000 requests, parity: 100 %, 0 differ, surely at least 99.72 %")
    assert "# ours" in path.read_text()
    assert route.standing().verdict is Verdict.NOT_YET


def test_going_back_gives_the_route_to_the_legacy_side_and_keeps_the_mirror(path: Path) -> None:
    set_switch(path, KEY, share=10)
    route = OneRoute(path)
    assert demote(route.state, route.standing(), by="promotion", why="parity")
    assert (load(path)[KEY].share, load(path)[KEY].mirror) == (0, 100)


def test_a_person_who_sets_the_route_meanwhile_wins(path: Path) -> None:
    route = OneRoute(path)
    standing = route.standing()
    set_switch(path, KEY, share=0, mirror=20)
    assert not promote(route.state, standing, by="promotion")
    assert not demote(route.state, standing, by="promotion", why="parity")
    assert (load(path)[KEY].share, load(path)[KEY].mirror) == (0, 20)
    assert route.state.history() == []


def test_a_hold_wins_over_a_promotion_that_has_looked_already(path: Path) -> None:
    route = OneRoute(path)
    standing = route.standing()
    hold(route.state, KEY, "wrong totals", by="alice")
    assert not promote(route.state, standing, by="promotion")
    held = route.standing()
    assert [(gate.name, gate.verdict, gate.figure) for gate in held.gates] == [("held", Verdict.CLOSED, "wrong totals")]
    with pytest.raises(RouteHeld, match=f'held by alice: "wrong totals". .* graft release "{KEY}"'):
        promote(route.state, held, by="promotion")
    assert load(path)[KEY].share == 0


def test_a_route_without_figures_is_not_yet(path: Path) -> None:
    assert OneRoute(path, RouteFigures()).standing().verdict is Verdict.NOT_YET


def test_the_worst_verdict_is_the_standings(path: Path) -> None:
    route = OneRoute(path, figures(compared=10))
    route.standing()
    route.add(compared=10)
    assert route.standing().verdict is Verdict.CLOSED
