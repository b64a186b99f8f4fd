from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from graft.errors import GraftError, RouteHeld
from graft.figures.client import GatewayFigures
from graft.figures.route_figures import Latency, RouteFigures
from graft.operations.edits import set_switch
from graft.operations.file_state import FileState
from graft.operations.gates import Verdict, gates_of
from graft.operations.hold import hold
from graft.operations.promotion import Baselines, Promotion, Standing, demote, promote, step_of
from graft.operations.switch import Gates, Switch
from graft.operations.switches import load
from graft.types import RouteKey, Side

KEY = RouteKey("GET", "/thing")
POST = RouteKey("POST", "/thing")
BOUNDS = tuple(half / 2000 for half in range(1, 401))


def taking(ms: float | None, answers: int = 1000) -> Latency:
    """The histogram of so many answers that took ``ms`` each; None for no answers."""
    if ms is None:
        return Latency()
    return Latency(BOUNDS, (*(answers if ms <= bound * 1000 else 0 for bound in BOUNDS), answers))


def figures(
    native: int = 0,
    legacy: int = 0,
    fallback: int = 0,
    native_failed: int = 0,
    compared: int = 0,
    matched: int = 0,
    took: tuple[float | None, float | None] = (None, None),
) -> RouteFigures:
    """Figures of one route; ``took`` is how long each native and each legacy answer did, in ms."""
    return RouteFigures(
        {Side.NATIVE: native, Side.LEGACY: legacy, Side.FALLBACK: fallback},
        native_failed,
        {Side.NATIVE: taking(took[0]), Side.LEGACY: taking(took[1]), Side.FALLBACK: Latency()},
        {"matched": matched, "different": compared - matched},
    )


def good(**changes: Any) -> RouteFigures:
    return figures(**{"native": 1000, "legacy": 1000, "compared": 1000, "matched": 1000, "took": (10, 20), **changes})


GOOD = good()


class Given:
    """Statistics for tests."""

    def __init__(self, now: RouteFigures = GOOD) -> None:
        self.now = now

    def figures(self, key: RouteKey) -> RouteFigures:
        return self.now

    def add(self, **more: Any) -> None:
        self.now += figures(**{"took": (10, 20), **more})


def verdicts(switch: Switch, figures: RouteFigures, key: RouteKey = KEY) -> dict[str, str]:
    return {gate.name: gate.verdict.value for gate in gates_of(key, switch, figures)}


# The ladder


def test_the_ladder_goes_from_the_mirror_to_everything() -> None:
    switch, steps = Switch(), []
    while step := step_of(switch):
        steps.append(step)
        switch = replace(switch, **step)
    assert steps == [{"mirror": 100}, {"share": 1}, {"share": 10}, {"share": 50}, {"share": 100}]


def test_a_share_between_two_rungs_goes_to_the_next() -> None:
    assert step_of(Switch(share=7.5, mirror=20)) == {"share": 10}


# The gates


def test_good_figures_open_every_gate() -> None:
    assert verdicts(Switch(share=10, mirror=100), GOOD) == {
        "compared": "open",
        "parity": "open",
        "native errors": "open",
        "p95": "open",
    }


def test_nothing_compared_is_not_yet_and_never_a_pass() -> None:
    assert verdicts(Switch(mirror=100), figures()) == {"compared": "not yet", "parity": "not yet", "p95": "not yet"}


def test_too_few_requests_are_not_yet_even_if_all_matched() -> None:
    few = good(compared=99, matched=99)
    assert verdicts(Switch(mirror=100), few) == dict.fromkeys(("compared", "parity", "p95"), "not yet")


@pytest.mark.parametrize(
    ("compared", "different", "verdict"),
    [(1000, 0, "open"), (1000, 5, "open"), (1000, 6, "closed"), (10, 1, "closed"), (10, 0, "not yet")],
)
def test_parity_closes_as_soon_as_it_can_not_be_reached_any_more(compared: int, different: int, verdict: str) -> None:
    since = good(compared=compared, matched=compared - different)
    assert verdicts(Switch(mirror=100), since)["parity"] == verdict


@pytest.mark.parametrize(
    ("native", "fallback", "failed", "verdict"),
    [(1000, 0, 0, "open"), (990, 10, 10, "open"), (989, 11, 11, "closed"), (5, 0, 0, "not yet"), (3, 2, 2, "closed")],
)
def test_native_errors_are_counted_with_the_fallbacks(native: int, fallback: int, failed: int, verdict: str) -> None:
    since = good(native=native, fallback=fallback, native_failed=failed)
    assert verdicts(Switch(share=10, mirror=100), since)["native errors"] == verdict


@pytest.mark.parametrize(
    ("native", "legacy", "verdict"),
    [
        (24, 20, "open"),
        (26, 20, "closed"),
        (4.9, 0.5, "open"),
        (130, 100, "closed"),
        (None, 20, "not yet"),
        (20, None, "not yet"),
    ],
)
def test_the_native_p95_may_not_be_much_slower(native: float | None, legacy: float | None, verdict: str) -> None:
    assert verdicts(Switch(mirror=100), good(took=(native, legacy)))["p95"] == verdict


def test_one_slow_answer_closes_nothing() -> None:
    assert verdicts(Switch(share=1, mirror=100), good(compared=1, matched=1, took=(90, 1)))["p95"] == "not yet"


def test_what_the_gates_ask_for_is_set_per_route() -> None:
    few = good(compared=3, matched=2, took=(100, 20))
    lenient = Gates(compared=2, parity=50, slower=10)
    assert set(verdicts(Switch(mirror=100, gates=lenient), few).values()) == {"open"}


def test_a_tripped_route_is_closed_until_somebody_sets_it() -> None:
    assert verdicts(Switch(mirror=100, tripped="3 of 3 failed"), GOOD) == {"tripped": "closed"}


def test_the_first_step_of_a_route_that_reads_has_no_gates_and_that_of_one_that_writes_is_for_people() -> None:
    assert verdicts(Switch(), figures()) == {}
    [gate] = gates_of(POST, Switch(), GOOD)
    assert (gate.name, gate.verdict) == ("mirror", Verdict.NOT_YET)
    assert "POST writes" in gate.figure


def test_parity_is_never_rounded_up() -> None:
    gates = gates_of(KEY, Switch(mirror=100), good(compared=100_000, matched=99_999))
    assert next(gate.figure for gate in gates if gate.name == "parity") == "99.99 %, 1 differ"


# Since the route stands on its rung


def test_only_what_happened_on_this_rung_counts(tmp_path: Path) -> None:
    baselines, switch = Baselines(tmp_path / "data" / "promotions.json"), Switch(mirror=100)
    assert baselines.since(KEY, switch, GOOD).compared == 0
    assert baselines.since(KEY, switch, good(compared=1040)).compared == 40
    assert baselines.since(POST, switch, GOOD).compared == 0
    assert baselines.since(KEY, switch, good(compared=1050)).compared == 50
    assert baselines.since(KEY, replace(switch, share=1), good(compared=1050)).compared == 0


def test_the_latency_is_that_of_this_rung_however_long_the_gateway_was_quick_before(tmp_path: Path) -> None:
    baselines, switch = Baselines(tmp_path / "promotions.json"), Switch(share=1, mirror=100)
    before = good(took=(10, 20))
    assert baselines.since(KEY, switch, before) == RouteFigures()
    assert verdicts(switch, baselines.since(KEY, switch, before))["p95"] == "not yet"
    slow = figures(compared=100, matched=100, took=(90, 20))
    assert verdicts(switch, baselines.since(KEY, switch, before + slow))["p95"] == "closed"
    assert verdicts(switch, before + before + before + before + slow)["p95"] == "closed"


def test_with_fewer_figures_than_before_the_rung_begins_anew_and_nothing_old_counts(tmp_path: Path) -> None:
    baselines, switch = Baselines(tmp_path / "promotions.json"), Switch(mirror=100)
    baselines.since(KEY, switch, GOOD)
    assert baselines.since(KEY, switch, good(compared=700, matched=700)).compared == 0
    assert baselines.since(KEY, switch, good(compared=707, matched=700)).compared == 7


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
    assert Baselines(path).since(KEY, Switch(mirror=100.0), GOOD).compared == 0
    assert json.loads(path.read_text())["GET /thing"]["figures"]["mirrored"]["matched"] == 1000


def test_a_file_that_can_not_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Baselines(tmp_path / "file" / "promotions.json").since(KEY, Switch(), GOOD).compared == 0


# A promotion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "switches.toml"
    path.write_text('# ours\n["GET /thing"]\nmirror = 100\n')
    return path


def promotion(path: Path, given: Given) -> Promotion:
    return Promotion(KEY, FileState(path, path.parent), given, Baselines(path.with_name("promotions.json")))


def test_a_climb_takes_one_step_and_starts_to_count_anew(path: Path) -> None:
    given = Given()
    climbing = promotion(path, given)
    assert climbing.standing().verdict is Verdict.NOT_YET
    given.add(compared=100, matched=100)
    standing = climbing.standing()
    assert standing.verdict is Verdict.OPEN
    assert promote(climbing.state, standing, by="alice")
    assert load(path)[KEY].share == 1
    [event] = climbing.state.history()
    assert (event.operation, event.by, event.before, event.after) == ("promote", "alice", {"share": 0}, {"share": 1})
    assert event.why is not None
    assert event.why.startswith("compared: 100 requests, parity: 100 %, 0 differ")
    assert "# ours" in path.read_text()
    assert climbing.standing().verdict is Verdict.NOT_YET


def test_going_back_gives_the_route_to_the_legacy_side_and_keeps_the_mirror(path: Path) -> None:
    set_switch(path, KEY, share=10)
    climbing = promotion(path, Given())
    assert demote(climbing.state, climbing.standing(), by="promotion", why="parity")
    assert (load(path)[KEY].share, load(path)[KEY].mirror) == (0, 100)


def test_a_person_who_sets_the_route_meanwhile_wins(path: Path) -> None:
    climbing = promotion(path, Given())
    standing = climbing.standing()
    set_switch(path, KEY, share=0, mirror=20)
    assert not promote(climbing.state, standing, by="promotion")
    assert not demote(climbing.state, standing, by="promotion", why="parity")
    assert (load(path)[KEY].share, load(path)[KEY].mirror) == (0, 20)
    assert climbing.state.history() == []


def test_a_hold_wins_over_a_promotion_that_has_looked_already(path: Path) -> None:
    climbing = promotion(path, Given())
    standing = climbing.standing()
    hold(climbing.state, KEY, "wrong totals", by="alice")
    assert not promote(climbing.state, standing, by="promotion")
    held = climbing.standing()
    assert [(gate.name, gate.verdict, gate.figure) for gate in held.gates] == [("held", Verdict.CLOSED, "wrong totals")]
    with pytest.raises(RouteHeld, match=f'held by alice: "wrong totals". .* graft release "{KEY}"'):
        promote(climbing.state, held, by="promotion")
    assert load(path)[KEY].share == 0


def test_a_route_without_figures_is_not_yet(path: Path) -> None:
    assert promotion(path, Given(RouteFigures())).standing().verdict is Verdict.NOT_YET


def test_the_worst_verdict_is_the_standings(path: Path) -> None:
    given = Given(figures(compared=10))
    climbing = promotion(path, given)
    climbing.standing()
    given.add(compared=10)
    standing: Standing = climbing.standing()
    assert standing.verdict is Verdict.CLOSED


# The figures of a gateway


class Gateway(http.server.BaseHTTPRequestHandler):
    answer: tuple[int, Any] = (200, {})
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, body = self.answer
        if self.headers["Authorization"] != "Bearer token":
            status = 401
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def gateway() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_figures_come_from_the_gateways_api(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gateway, "answer", (200, GOOD.as_data()))
    monkeypatch.setattr(Gateway, "asked", [])
    assert GatewayFigures(gateway, "token").figures(KEY) == GOOD
    assert Gateway.asked == ["/_graft/api/figures?route=GET+%2Fthing"]


@pytest.mark.parametrize(
    ("answer", "token", "message"),
    [
        ((200, {}), "token", "is not the API"),
        ((200, b"<html>"), "token", "is not the API"),
        ((200, {**GOOD.as_data(), "served": {}}), "token", "is not the API"),
        ((404, {}), "token", "answered 404. Is it a Graft gateway"),
        ((404, b"<html>"), "token", "answered 404. Is it a Graft gateway"),
        ((404, {"error": {"message": "There is no route 'GET /thing'."}}), "token", "answered 404. There is no route"),
        ((200, {}), "wrong", "answered 401. Is GRAFT_ADMIN_TOKEN"),
    ],
)
def test_an_answer_that_has_no_figures_says_why(
    gateway: str, monkeypatch: pytest.MonkeyPatch, answer: Any, token: str, message: str
) -> None:
    monkeypatch.setattr(Gateway, "answer", answer)
    with pytest.raises(GraftError, match=message):
        GatewayFigures(gateway, token).figures(KEY)


@pytest.mark.parametrize(
    ("url", "message"), [("http://127.0.0.1:9", "Is it up"), ("ftp://x", "no address"), ("nonsense", "no address")]
)
def test_a_gateway_that_can_not_be_asked_is_named(url: str, message: str) -> None:
    with pytest.raises(GraftError, match=message):
        GatewayFigures(url, "token").figures(KEY)
