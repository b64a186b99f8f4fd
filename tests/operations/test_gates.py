from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from graft.figures.route_figures import Latency, RouteFigures, withdrawn_on
from graft.operations.baselines import rung_name
from graft.operations.gates import Verdict, gates_of
from graft.operations.switch import Gates, Switch
from graft.types import RouteKey, Side
from tests.operations.climbing import KEY, figures

POST = RouteKey("POST", "/thing")
DARK, CANARY = Switch(mirror=100), Switch(share=10, mirror=100)


def good(**changes: Any) -> RouteFigures:
    return figures(**{"native": 3000, "legacy": 3000, "compared": 3000, "matched": 3000, "took": (10, 20), **changes})


GOOD = good()


def web(seed: int, median: float, count: int) -> Latency:
    """Latencies as apps have them: of three in four hundred answers the slowest takes ten times the median."""
    dice = random.Random(seed)
    return Latency.of([median * dice.lognormvariate(0, 0.6) for _ in range(count)])


def taking(ratio: float, count: int, seed: int = 1) -> RouteFigures:
    """Good figures but for latencies of ``ratio``."""
    since = good()
    since.latency[Side.NATIVE] = web(2 * seed, 0.03 * ratio, count)
    since.latency[Side.LEGACY] = web(2 * seed + 1, 0.03, count)
    return since


def verdicts(switch: Switch, figures: RouteFigures, key: RouteKey = KEY) -> dict[str, str]:
    return {gate.name: gate.verdict.value for gate in gates_of(key, switch, figures)}


def test_good_figures_open_every_gate() -> None:
    assert verdicts(CANARY, GOOD) == dict.fromkeys(
        ("compared", "parity", "not compared", "native errors", "p95"), "open"
    )


def test_nothing_counted_is_not_yet_and_never_a_pass() -> None:
    assert verdicts(CANARY, figures()) == dict.fromkeys(
        ("compared", "parity", "not compared", "native errors", "p95"), "not yet"
    )


@pytest.mark.parametrize(
    ("compared", "different", "verdict"),
    [
        (100, 0, "not yet"),  # a true parity of 99 % shows that in 37 % of the cases
        (1000, 0, "not yet"),
        (1200, 0, "open"),
        (1000, 5, "not yet"),
        (5000, 5, "open"),
        (5000, 20, "not yet"),
        (100_000, 500, "not yet"),  # the gate itself: nobody can tell
        (100_000, 400, "open"),
        (100_000, 700, "closed"),
        (10, 1, "not yet"),
        (3, 3, "closed"),
        (100, 38, "closed"),
    ],
)
def test_parity_has_to_be_shown_with_confidence(compared: int, different: int, verdict: str) -> None:
    since = good(compared=compared, matched=compared - different)
    assert verdicts(DARK, since)["parity"] == verdict


@pytest.mark.parametrize(
    ("failed", "skipped", "shed", "verdict"),
    [
        (0, 0, 0, "open"),
        (100_000, 0, 0, "closed"),
        (0, 100_000, 0, "closed"),
        (0, 0, 100_000, "open"),  # there was no time for them, whatever they were
        (60, 30, 0, "open"),
        (150, 0, 0, "not yet"),
        (300, 0, 0, "closed"),
    ],
)
def test_requests_that_could_not_be_compared_have_a_gate_of_their_own(
    failed: int, skipped: int, shed: int, verdict: str
) -> None:
    since = good()
    since.mirrored |= {"failed": failed, "skipped": skipped, "shed": shed}
    assert verdicts(DARK, since)["not compared"] == verdict


def test_what_could_not_be_told_opens_nothing_and_closes_nothing_and_says_what_to_do() -> None:
    since = good(compared=0, matched=0)
    since.mirrored = {"untold": 100_000}
    found = {gate.name: gate for gate in gates_of(KEY, DARK, since)}
    assert (found["compared"].verdict, found["not compared"].verdict) == (Verdict.NOT_YET, Verdict.NOT_YET)
    assert "100000 not told: users never repeat a request; set resample = 5" in found["not compared"].figure
    since = good()
    since.mirrored |= {"untold": 10}
    assert verdicts(DARK, since)["not compared"] == "open"


def test_mirrors_that_all_failed_open_nothing_though_nothing_differed() -> None:
    since = good(compared=0, matched=0)
    since.mirrored = {"failed": 100_000}
    assert verdicts(DARK, since) == {
        "compared": "not yet",
        "parity": "not yet",
        "not compared": "closed",
        "p95": "open",
    }


@pytest.mark.parametrize(
    ("share", "native", "failed", "legacy", "legacy_failed", "verdict"),
    [
        (1, 1, 0, 99, 0, "not yet"),
        (1, 30, 0, 2970, 0, "not yet"),
        (1, 70, 0, 6930, 0, "open"),
        (10, 70, 0, 630, 0, "not yet"),
        (10, 700, 0, 6300, 0, "open"),
        (10, 700, 7, 6300, 0, "not yet"),
        (10, 700, 40, 6300, 0, "closed"),
        (10, 10_000, 300, 90_000, 2700, "open"),  # both fail alike: a backend of both was down
        (10, 10_000, 300, 90_000, 0, "closed"),
        (1, 5, 5, 495, 0, "closed"),
        (100, 700, 0, 3, 0, "open"),
        (100, 700, 40, 3, 0, "closed"),
    ],
)
def test_native_errors_are_compared_with_legacy_ones_on_the_same_rung(
    share: float, native: int, failed: int, legacy: int, legacy_failed: int, verdict: str
) -> None:
    since = good(native=native - failed, fallback=failed, native_failed=failed, legacy=legacy)
    since.statuses[Side.LEGACY] = {"2xx": legacy - legacy_failed, "5xx": legacy_failed}
    assert verdicts(Switch(share=share, mirror=100), since)["native errors"] == verdict


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("ratio", "count", "verdict"),
    [
        (1.85, 200, {"not yet", "closed"}),
        (1.85, 3000, {"closed"}),
        (2.18, 3000, {"closed"}),
        (1.02, 200, {"not yet"}),
        (1.02, 6000, {"open"}),
        (1.08, 1000, {"not yet"}),
        (1.08, 15_000, {"open"}),
        (1.2, 15_000, {"not yet"}),
    ],
)
def test_the_native_p95_is_judged_by_what_the_samples_can_show(
    ratio: float, count: int, verdict: set[str], seed: int
) -> None:
    assert verdicts(DARK, taking(ratio, count, seed))["p95"] in verdict


@pytest.mark.parametrize(
    ("native", "legacy", "verdict"),
    [
        (23.2, 20, "open"),
        (25, 20, "not yet"),  # within the 5 ms that are free, or not: the sketch can't tell
        (26, 20, "closed"),
        (4.9, 0.5, "open"),
        (130, 100, "closed"),
        (None, 20, "not yet"),
        (20, None, "not yet"),
    ],
)
def test_a_native_p95_may_be_some_milliseconds_slower_anyway(
    native: float | None, legacy: float | None, verdict: str
) -> None:
    assert verdicts(DARK, good(took=(native, legacy)))["p95"] == verdict


def test_one_slow_answer_closes_nothing_and_opens_nothing() -> None:
    since = good()
    since.latency[Side.NATIVE] = Latency.of([0.09])
    assert verdicts(DARK, since)["p95"] == "not yet"
    since.latency[Side.NATIVE] = Latency.of([0.001])
    assert verdicts(DARK, since)["p95"] == "not yet"


def test_what_the_gates_ask_for_is_set_per_route() -> None:
    few = good(compared=200, matched=140, took=(100, 20))
    lenient = Gates(compared=2, parity=50, slower=10, uncompared=20, confidence=90)
    assert set(verdicts(Switch(mirror=100, gates=lenient), few).values()) == {"open"}
    assert verdicts(Switch(mirror=100, gates=Gates(confidence=80)), good(compared=500, matched=500))["parity"] == "open"


def test_a_tripped_route_is_closed_until_somebody_sets_it() -> None:
    assert verdicts(Switch(mirror=100, tripped="3 of 3 failed"), GOOD) == {"tripped": "closed"}


def test_the_first_step_of_a_route_that_reads_has_no_gates_and_that_of_one_that_writes_is_for_people() -> None:
    assert verdicts(Switch(), figures()) == {}
    [gate] = gates_of(POST, Switch(), GOOD)
    assert (gate.name, gate.verdict) == ("mirror", Verdict.NOT_YET)
    assert "POST writes" in gate.figure
    assert "gates.mirror = false" in gate.wanted


def test_parity_is_never_rounded_up() -> None:
    gates = gates_of(KEY, DARK, good(compared=100_000, matched=99_999))
    figure = next(gate.figure for gate in gates if gate.name == "parity")
    assert figure.startswith("99.99 %, 1 differ, surely at least 99.99 %")


# Routes that write, by choice without a mirror


def written(native: dict[str, int], legacy: dict[str, int], failed: int = 0) -> RouteFigures:
    since = good(compared=0, matched=0, native=sum(native.values()), legacy=sum(legacy.values()), native_failed=failed)
    since.mirrored = {}
    since.statuses |= {Side.NATIVE: native, Side.LEGACY: legacy}
    return since


@pytest.mark.parametrize(
    ("native", "legacy", "verdict"),
    [
        ({"2xx": 900, "4xx": 100}, {"2xx": 8100, "4xx": 900}, "open"),
        ({"2xx": 9, "4xx": 1}, {"2xx": 81, "4xx": 9}, "not yet"),
        ({"2xx": 600, "4xx": 400}, {"2xx": 8100, "4xx": 900}, "closed"),  # it refuses what legacy takes
        ({"2xx": 1000}, {"2xx": 7000, "4xx": 2000}, "closed"),  # it takes what legacy refuses
        ({"3xx": 1000}, {"2xx": 9000}, "closed"),
        ({}, {"2xx": 9000}, "not yet"),
        ({"2xx": 1000}, {}, "not yet"),
    ],
)
def test_without_a_mirror_by_choice_a_route_climbs_on_errors_status_and_latency(
    native: dict[str, int], legacy: dict[str, int], verdict: str
) -> None:
    switch = Switch(share=10, gates=Gates(mirror=False))
    told = verdicts(switch, written(native, legacy), POST)
    assert list(told) == ["mirror", "native errors", "status", "p95"]
    assert told["status"] == verdict


def test_where_one_side_answers_all_there_is_no_status_to_compare() -> None:
    switch = Switch(gates=Gates(mirror=False))
    assert verdicts(switch, figures(), POST) == {"mirror": "open"}
    top = Switch(share=100, gates=Gates(mirror=False))
    assert verdicts(top, written({"2xx": 700}, {}), POST) == {"mirror": "open", "native errors": "open"}
    assert verdicts(top, written({"2xx": 700}, {}, failed=70), POST)["native errors"] == "closed"


# For people


def test_a_gate_that_is_not_yet_open_tells_about_how_many_requests_are_missing() -> None:
    gate = next(
        gate for gate in gates_of(KEY, DARK, figures(legacy=500, compared=500, matched=500)) if gate.name == "parity"
    )
    assert gate.figure == "100 %, 0 differ, surely at least 98.88 %; about 600 more requests"
    assert gate.more is not None
    more = 500 * (1 + 1.1 * gate.more)  # it is a guess
    assert verdicts(DARK, good(compared=round(more), matched=round(more)))["parity"] == "open"


def test_where_more_of_the_same_would_show_nothing_none_is_foretold() -> None:
    gate = next(gate for gate in gates_of(KEY, DARK, good(compared=10_000, matched=9950)) if gate.name == "parity")
    assert (gate.verdict, gate.more) == (Verdict.NOT_YET, None)
    assert "more requests" not in gate.figure


def test_a_share_that_no_client_falls_into_says_so() -> None:
    """An office behind one address with one browser is one client."""
    switch = Switch(share=10, mirror=100, sticky="user")

    def told(legacy: int) -> str:
        gates = gates_of(KEY, switch, figures(legacy=legacy, compared=legacy, matched=legacy, took=(10, 10)))
        return next(gate.figure for gate in gates if gate.name == "native errors")

    assert 'no client came that is native, by sticky = "user"' in told(200)
    assert "no client" not in told(199)


def test_what_was_withdrawn_on_this_rung_does_not_count_and_on_another_one_does() -> None:
    counted = figures(legacy=3000, compared=3000, matched=2960, took=(10, 10))
    here, elsewhere = withdrawn_on(rung_name(DARK)), withdrawn_on(rung_name(CANARY))

    def parity(**mirrored: int) -> str:
        since = replace(counted, mirrored={**counted.mirrored, **mirrored})
        return next(gate.figure for gate in gates_of(KEY, DARK, since) if gate.name == "parity")

    assert parity().startswith("98.66 %, 40 differ")
    assert parity(**{elsewhere: 40}).startswith("98.66 %, 40 differ")
    assert parity(**{elsewhere: 40, here: 30}).startswith("99.66 %, 10 differ")
    assert parity(**{here: 50}).startswith("100 %, 0 differ")
