"""The commands on a fleet: they name it, and say what they did and did not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from graft.cli import main
from graft.fleet.fleet_state import FleetState
from graft.operations.hold import hold
from graft.operations.shift import shift
from graft.settings import Settings
from graft.types import RouteKey
from graft.verification.sides import switches_text
from tests.fleet.hosts import Fleet, gateway, share

KEY = RouteKey("GET", "/thing")


@pytest.fixture
def state(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetState:
    """The gateway of this host; the commands run on it."""
    state = gateway(fleet.host("one"))
    monkeypatch.chdir(fleet.folder / "one")
    monkeypatch.setenv("GRAFT_FLEET", fleet.name)
    monkeypatch.setenv("GRAFT_DATA", str(fleet.folder / "one" / "var"))
    monkeypatch.setenv("GRAFT_SWITCHES", str(fleet.folder / "one" / "switches.toml"))
    monkeypatch.setenv("ELASTICSEARCH_URL", fleet.url)
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.delenv("SUDO_USER", raising=False)
    return state


def graft(*words: str) -> Result:
    return CliRunner().invoke(main, words, env={"COLUMNS": "200"})


def test_a_shift_is_for_all_hosts_and_says_so(state: FleetState, fleet: Fleet) -> None:
    result = graft("shift", "GET /thing", "10", "--force")
    assert result.exit_code == 0, result.output
    assert f"fleet {fleet.name} ({fleet.url}) was changed; every host of it follows" in result.stderr
    other = gateway(fleet.host("two"))
    assert share(other, KEY) == share(state, KEY) == 10
    history = graft("history")
    assert f"fleet {fleet.name}" in history.stderr
    assert "share 0 -> 10" in history.stdout
    assert "alice" in history.stdout


def test_without_the_cluster_a_shift_names_what_works_and_a_rollback_of_the_host_does(
    state: FleetState, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift(state, KEY, 10, by="alice")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:1")
    refused = graft("rollback", "GET /thing")
    assert refused.exit_code == 2
    assert "can't be reached" in refused.stderr
    assert 'graft rollback "GET /path" --host' in refused.stderr
    assert share(state, KEY) == 10
    result = graft("rollback", "GET /thing", "--host", "--why", "wrong totals")
    assert result.exit_code == 0, result.output
    assert "share 10 -> 0" in result.stdout
    assert "1 changed on this host" in result.stderr
    assert share(state, KEY) == 0
    other = gateway(fleet.host("two"))
    assert share(other, KEY) == 10
    state.keeper.look()
    other.keeper.look()
    assert share(other, KEY) == 0


def test_a_rollback_of_the_host_goes_to_all_where_the_cluster_is_there(state: FleetState, fleet: Fleet) -> None:
    shift(state, KEY, 10, by="alice")
    result = graft("rollback", "--all", "--host")
    assert result.exit_code == 0, result.output
    assert "every host of it follows" in result.stderr
    assert share(gateway(fleet.host("two")), KEY) == 0


def test_pull_diff_and_push_go_round(state: FleetState, fleet: Fleet) -> None:
    shift(state, KEY, 10, by="alice")
    assert graft("switches", "pull").exit_code == 0
    file = Path("switches.toml")
    assert file.read_text().startswith(f"# fleet {fleet.name}, revision 1: ")
    same = graft("switches", "diff")
    assert (same.exit_code, same.stdout) == (0, "")
    file.write_text(file.read_text().replace("share = 10", "share = 20  # reviewed"))
    differs = graft("switches", "diff")
    assert differs.exit_code == 1
    assert "-share = 10" in differs.stdout
    assert "+share = 20.0  # reviewed" in differs.stdout or "+share = 20  # reviewed" in differs.stdout
    pushed = graft("switches", "push", "--why", "reviewed")
    assert pushed.exit_code == 0, pushed.output
    assert pushed.stdout == "GET /thing: share 10 -> 20\n"
    assert share(state, KEY) == 20
    [event, _] = state.history()
    assert (event.operation, event.by, event.why) == ("push", "alice", "reviewed")
    assert "# reviewed" in graft("switches", "pull", "-").stdout


def test_push_never_takes_back_what_somebody_else_has_changed_since(state: FleetState) -> None:
    shift(state, KEY, 10, by="alice")
    graft("switches", "pull")
    shift(state, RouteKey("GET", "/other"), 50, by="bob")
    refused = graft("switches", "push")
    assert refused.exit_code == 1
    assert "has come to revision 2, and this is made from revision 1" in refused.stderr
    assert share(state, RouteKey("GET", "/other")) == 50


def test_push_does_not_raise_what_a_person_holds(state: FleetState) -> None:
    shift(state, KEY, 10, by="alice")
    hold(state, KEY, "wrong totals", by="bob")
    graft("switches", "pull")
    file = Path("switches.toml")
    file.write_text(file.read_text().replace("share = 10", "share = 20"))
    refused = graft("switches", "push")
    assert refused.exit_code == 1
    assert 'is held by bob: "wrong totals"' in refused.stderr


def test_a_file_that_was_never_pulled_needs_force(state: FleetState) -> None:
    shift(state, KEY, 10, by="alice")
    Path("switches.toml").write_text('["GET /thing"]\nshare = 70\n')
    refused = graft("switches", "push")
    assert refused.exit_code == 2
    assert "was never pulled from fleet" in refused.stderr
    assert graft("switches", "push", "--force").exit_code == 0
    assert share(state, KEY) == 70


def test_without_a_fleet_the_commands_say_what_is_missing(state: FleetState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_FLEET")
    for word in ("pull", "diff", "push"):
        result = graft("switches", word)
        assert result.exit_code == 2
        assert "GRAFT_FLEET: is not set" in result.stderr


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("shop", "", "GRAFT_FLEET: found 'shop', without ELASTICSEARCH_URL"),
        ("Shop 1", "http://127.0.0.1:1", "is no name of a fleet"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    state: FleetState, monkeypatch: pytest.MonkeyPatch, name: str, url: str, told: str
) -> None:
    monkeypatch.setenv("GRAFT_FLEET", name)
    monkeypatch.setenv("ELASTICSEARCH_URL", url)
    result = graft("history")
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_machine_without_a_gateway_acts_on_the_fleet(
    state: FleetState, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift(state, KEY, 10, by="alice")
    (empty := tmp_path / "laptop").mkdir()
    monkeypatch.chdir(empty)
    for name in ("GRAFT_DATA", "GRAFT_SWITCHES"):
        monkeypatch.delenv(name)
    assert graft("rollback", "GET /thing").exit_code == 0
    state.keeper.look()
    assert share(state, KEY) == 0
    assert list(empty.iterdir()) == []


def test_verify_compares_by_the_rules_of_the_fleet(state: FleetState, fleet: Fleet) -> None:
    Path("switches.toml").write_text('["GET /thing"]\nignore = ["body.pushed"]\n')
    assert graft("switches", "push", "--force").exit_code == 0
    Path("switches.toml").write_text('["GET /thing"]\nignore = ["body.left"]\n')
    assert '"body.pushed"' in switches_text(Settings.load())
    assert '"body.left"' not in switches_text(Settings.load())
