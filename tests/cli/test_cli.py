"""The ``graft`` command as a whole."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from graft import cli
from graft.errors import SettingError


def test_help_lists_every_command_without_importing_one() -> None:
    script = (
        "import sys; from graft.cli import main; main(['-h'], standalone_mode=False); sys.exit('flask' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    for name, (_, summary) in cli.COMMANDS.items():
        assert name in ended.stdout
        assert summary.split()[0] in ended.stdout


def test_help_and_completion_know_the_same_commands() -> None:
    shown = CliRunner().invoke(cli.main, ["--help"]).output
    assert all(name in shown for name in cli.main.list_commands(click.Context(cli.main)))
    assert cli.main.list_commands(click.Context(cli.main)) == list(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_listed_command_is_there(name: str) -> None:
    assert isinstance(import_module(cli.COMMANDS[name][0]).command, click.Command)
    assert CliRunner().invoke(cli.main, [name, "--help"]).exit_code == 0


def test_an_unknown_command_is_a_usage_error() -> None:
    ended = CliRunner().invoke(cli.main, ["fly"])
    assert ended.exit_code == 2
    assert "No such command 'fly'" in ended.output
    assert "Did you mean" not in ended.output


def test_a_typing_error_in_a_command_names_the_nearest_one() -> None:
    ended = CliRunner().invoke(cli.main, ["rolback", "--all"])
    assert (ended.exit_code, ended.output.count("Did you mean")) == (2, 1)
    assert "rollback" in ended.output


def test_a_wrong_setting_is_one_line_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise SettingError("PORT", "found 'x'", "Write a number.")

    module = type(sys)("graft.cli.failing")
    module.command = click.command()(fail)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "graft.cli.failing", module)
    monkeypatch.setitem(cli.COMMANDS, "fail", ("graft.cli.failing", "Fails."))
    ended = CliRunner().invoke(cli.main, ["fail"])
    assert (ended.exit_code, ended.output) == (2, "error: PORT: found 'x'. Write a number.\n")


def test_python_m_graft_is_the_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "graft", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("graft, version ")
