"""``graft promote`` against the control plane of a gateway, whose promoter looks when a test says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.testclient import TestClient

from graft.cli import main, promote
from graft.control.api import Api
from graft.control.logins import Logins
from graft.control.routes import control_routes
from graft.errors import GraftError
from graft.figures.reader import Reader
from graft.figures.route_figures import RouteFigures
from graft.gateways.client import GatewayAnswered, GatewayUnreachable
from graft.operations.hold import hold
from graft.operations.rollback import rollback
from graft.operations.switch import Switch
from graft.settings import Settings
from tests.control.app import BEARER, TOKEN, TOKENS, native, table_of
from tests.operations.climbing import KEY, Host

WATCH_SECONDS = Switch().watch
GOOD = {"compared": 2000, "matched": 2000, "native": 2000, "legacy": 2000}


class Gateway:
    """The gateway of a host, asked in memory. ``between`` runs whenever the command waits."""

    def __init__(self, host: Host, client: TestClient) -> None:
        self.host = host
        self.worker = host.worker()
        self.failures: list[GraftError] = []
        self.looks = 0
        self.between: Callable[[int], None] = self.go_on
        self._client = client

    def get(self, path: str) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body, headers=BEARER)
        if answer.status_code >= 400:
            raise GatewayAnswered("gateway", answer.status_code, answer.json()["error"]["message"])
        return answer.json()

    def sleep(self, seconds: float) -> None:
        self.looks += 1
        assert self.looks < 100, "it does not end"
        self.between(self.looks)

    def go_on(self, looks: int) -> None:
        self.look()
        self.host.pass_by(WATCH_SECONDS, **GOOD)

    def look(self) -> None:
        anyio.run(self.worker.look)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    host = Host(tmp_path)
    settings = Settings.load(data=tmp_path / "var", switches=host.state.path)
    table = table_of([native("/thing"), native("/new")], "/thing", "/old")
    monkeypatch.setattr("graft.figures.folders.server_name", lambda: "server")

    async def now(self: Reader) -> dict[str, RouteFigures]:
        return {str(KEY): host.counted}

    monkeypatch.setattr(Reader, "evidence", now)
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", TOKEN)
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.delenv("SUDO_USER", raising=False)
    api = Api(settings, table, host.state, host.state.follow())
    app = Starlette(routes=[control_routes(TOKENS, Logins(TOKENS, None), {}, api)])
    with TestClient(app) as client:
        made = Gateway(host, client)
        monkeypatch.setattr(promote, "GatewayClient", lambda address, token: made)
        monkeypatch.setattr(promote.time, "sleep", made.sleep)
        yield made


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ("promote", *words, "--url", "http://gateway"), env={"COLUMNS": "200"})


# One step


def test_a_step_prints_each_gate_with_its_figure_and_is_taken_only_through_open_ones(gateway: Gateway) -> None:
    result = run(str(KEY))
    assert result.exit_code == 1, result.output
    assert "stays: waits for" in result.output
    assert "0 requests" in result.output
    gateway.host.pass_by(1, **GOOD)
    result = run(str(KEY), "--why", "a try")
    assert result.exit_code == 0, result.output
    assert "2000 requests" in result.output
    assert "promoted: share 1" in result.output
    assert (gateway.host.share, gateway.host.climbs) == (1, False)
    assert gateway.host.operations() == [("promote", "alice (admin token)")]


def test_a_step_by_hand_waits_for_the_bake_too(gateway: Gateway) -> None:
    gateway.host.state.path.write_text('["GET /thing"]\nshare = 50\nmirror = 100\nbake = 4\n')
    run(str(KEY))
    gateway.host.pass_by(2, **GOOD)
    result = run(str(KEY))
    assert (result.exit_code, gateway.host.share) == (1, 50), result.output
    assert "stays: waits for bake: about 2 s" in result.output
    assert re.search(r"bake\W+not yet\W+2 s here\W+at least 4 s", result.output)
    gateway.host.pass_by(2)
    result = run(str(KEY))
    assert (result.exit_code, gateway.host.share) == (0, 100), result.output


def test_a_step_in_json(gateway: Gateway) -> None:
    line = json.loads(run(str(KEY), "--json").output)
    assert (line["route"], line["did"][:14], line["climb"]) == (str(KEY), "stays: waits f", None)
    assert line["gates"][0]["verdict"] == "not yet"


def test_of_a_native_route_there_is_nothing_to_promote(gateway: Gateway) -> None:
    gateway.host.state.path.write_text('["GET /thing"]\nshare = 100\n')
    for words in ((), ("--watch",)):
        result = run(str(KEY), *words)
        assert (result.exit_code, "native: share 100" in result.output) == (0, True), result.output
    assert not gateway.host.climbs


def test_a_held_route_is_not_promoted(gateway: Gateway) -> None:
    hold(gateway.host.state, KEY, "wrong totals", by="bob")
    for words in ((), ("--watch",)):
        result = run(str(KEY), *words)
        sentence = (
            'not done: GET /thing is held by bob: "wrong totals". To let it move again: graft release "GET /thing"'
        )
        assert (result.exit_code, result.output) == (1, f"{sentence}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("GET /nothing",), 'There is no route "GET /nothing"'),
        (("GET /new",), "is not switched"),
        ((str(KEY), "--watch", "--stop"), "--watch or --stop"),
    ],
)
def test_what_can_not_be_promoted_is_2(gateway: Gateway, words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert (result.exit_code, message in result.output) == (2, True), result.output


def test_without_a_gateway_it_is_2(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(address: str, token: str) -> Any:
        raise GatewayUnreachable("The gateway can't be asked: refused. Is it up?")

    monkeypatch.setattr(promote, "GatewayClient", down)
    result = run(str(KEY), "--watch")
    assert (result.exit_code, "can't be asked" in result.output) == (2, True)


# A climb that is watched


def test_the_command_shows_the_climb_and_ends_when_the_top_was_watched(gateway: Gateway) -> None:
    result = run(str(KEY), "--watch", "--why", "ready")
    assert result.exit_code == 0, result.output
    for told in (
        "share 0, climbs; waits for compared, parity, not compared, p95: no telling how long",
        "share 1, climbs",
        "share 50, climbs",
        "share 100, climbs; waits for compared, parity, not compared, native errors, p95, bake",
        "share 100, native: share 100",
    ):
        assert told in result.output
    assert "\x1b" not in result.output
    assert gateway.host.operations()[0] == ("climb", "alice (admin token)")


def test_it_is_told_how_long_it_takes_at_this_traffic(gateway: Gateway) -> None:
    def slowly(looks: int) -> None:
        gateway.look()
        gateway.host.pass_by(10, compared=1, matched=1)
        if looks == 3:
            rollback(gateway.host.state, KEY, by="bob")

    gateway.between = slowly
    result = run(str(KEY), "--watch")
    assert "waits for compared, parity, not compared: about 3.8 h at this traffic" in result.output


@pytest.mark.parametrize(
    "failure",
    [
        GatewayAnswered("gateway", 429, "Too many wrong tokens from this address."),
        GatewayAnswered("gateway", 502, None),
        GatewayUnreachable("The gateway can't be asked: Connection refused. Is it up?"),
        GatewayUnreachable("The gateway can't be asked: timed out. Is it up?"),
    ],
)
def test_no_answer_for_a_while_ends_neither_the_climb_nor_the_command(gateway: Gateway, failure: GraftError) -> None:
    gateway.failures = [failure] * 5
    result = run(str(KEY), "--watch")
    assert (result.exit_code, gateway.host.share) == (0, 100), result.output
    assert "the climb goes on in the gateway" in result.output


def test_the_climb_goes_on_when_the_command_is_gone(gateway: Gateway) -> None:
    def killed(looks: int) -> None:
        raise KeyboardInterrupt

    gateway.between = killed
    result = run(str(KEY), "--watch")
    assert (result.exit_code, "The climb goes on." in result.output) == (130, True)
    for looks in range(12):
        gateway.go_on(looks)
    assert gateway.host.share == 100


def test_a_token_that_is_taken_back_ends_the_command_and_not_the_climb(gateway: Gateway) -> None:
    gateway.failures = [GatewayAnswered("gateway", 401, "Is GRAFT_ADMIN_TOKEN the gateway's?")]
    result = run(str(KEY), "--watch")
    assert (result.exit_code, "answered 401" in result.output) == (2, True)
    assert gateway.host.climbs


def test_a_gateway_that_stays_away_ends_the_command_with_2(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote, "PATIENCE_SECONDS", -1.0)
    gateway.failures = [GatewayUnreachable("The gateway can't be asked: refused. Is it up?")]
    assert run(str(KEY), "--watch").exit_code == 2


def test_it_says_who_rolled_the_route_back_and_ends_with_1(gateway: Gateway) -> None:
    def interfere(looks: int) -> None:
        gateway.go_on(looks)
        if looks == 4:
            rollback(gateway.host.state, KEY, by="bob", why="wrong totals")

    gateway.between = interfere
    result = run(str(KEY), "--watch")
    assert (result.exit_code, gateway.host.share) == (1, 0)
    assert "ended at share 0: rollback by bob: wrong totals" in result.output
    assert "went back" not in result.output


def test_it_says_that_the_route_went_back_only_where_it_did(gateway: Gateway) -> None:
    def worse(looks: int) -> None:
        gateway.look()
        gateway.host.pass_by(
            WATCH_SECONDS, compared=2000, matched=2000 if gateway.host.share < 10 else 200, native=2000
        )

    gateway.between = worse
    result = run(str(KEY), "--watch")
    assert (result.exit_code, gateway.host.share) == (1, 0)
    assert "went back to share 0: closed: parity" in result.output


def test_a_gate_that_closes_in_the_dark_ends_it_where_it_is(gateway: Gateway) -> None:
    def bad(looks: int) -> None:
        gateway.look()
        gateway.host.pass_by(1, compared=200, matched=20)

    gateway.between = bad
    result = run(str(KEY), "--watch")
    assert (result.exit_code, gateway.host.share) == (1, 0)
    assert "ended at share 0, by promotion: closed: parity" in result.output
    assert "back" not in result.output


def test_watch_in_json_is_a_line_a_look(gateway: Gateway) -> None:
    result = run(str(KEY), "--watch", "--json")
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["share"] for line in lines][-1] == 100
    assert lines[-1]["did"] == "native: share 100"
    assert lines[0]["climb"]["by"] == "alice (admin token)"


def test_a_climb_can_be_stopped(gateway: Gateway) -> None:
    def stopped(looks: int) -> None:
        gateway.go_on(looks)
        if looks == 4:
            result = run(str(KEY), "--stop", "--why", "lunch")
            assert (result.exit_code, "stopped" in result.output) == (0, True)

    gateway.between = stopped
    result = run(str(KEY), "--watch")
    assert result.exit_code == 1
    assert "by alice (admin token): lunch" in result.output
    assert not gateway.host.climbs
    assert "no climb" in run(str(KEY), "--stop").output
