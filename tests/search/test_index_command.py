from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from graft.cli import index as cli
from graft.cli.output import SafeConsole
from tests.parts import free_port

MODULE = """
from graft.search.indexing import Index
indexes = [Index("numbers", {}, lambda: [(str(n), {"n": n}) for n in range(1200)]), Index("empty", {}, list)]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs ``graft index`` in a folder that has one native module."""
    (tmp_path / "native_y").mkdir()
    (tmp_path / "native_y" / "__init__.py").touch()
    (tmp_path / "native_y" / "numbers.py").write_text(MODULE)
    (tmp_path / "gateway.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("GRAFT_NATIVE", "native_y")
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "var"))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    yield lambda *arguments: CliRunner().invoke(cli.command, list(arguments))
    for name in [name for name in sys.modules if name.partition(".")[0] == "native_y"]:
        del sys.modules[name]


def test_indices_are_built_once_and_then_up_to_date(run: Callable[..., Result]) -> None:
    first, second = run(), run()
    assert first.exit_code == second.exit_code == 0
    assert "numbers: 1,200 documents indexed in " in first.output
    assert second.output.splitlines() == ["empty: up to date, 0 documents", "numbers: up to date, 1,200 documents"]
    assert "numbers: 1,200 documents indexed" in run("numbers", "--force").output


def test_the_result_can_be_read_by_programs(run: Callable[..., Result]) -> None:
    (report,) = json.loads(run("numbers", "--json").stdout)
    assert (report["name"], report["documents"], report["changed"]) == ("numbers", 1200, True)


def test_a_name_that_no_module_declares_is_an_error(run: Callable[..., Result]) -> None:
    result = run("nope")
    assert result.exit_code == 2
    assert result.stderr == "graft index: NAME: no index is named 'nope'. There is: empty, numbers.\n"


def test_a_server_that_is_down_is_one_line(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("ELASTICSEARCH_URL", f"http://127.0.0.1:{port}")
    result = run()
    assert result.exit_code == 2
    assert result.stderr.startswith(f"graft index: Elasticsearch at http://127.0.0.1:{port} can't be reached: ")
    assert result.stderr.count("\n") == 1


def test_a_module_that_does_not_import_is_one_line(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "native_y" / "broken.py").write_text("import nowhere_at_all")
    result = run()
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "GRAFT_NATIVE: native_y.broken can't be imported: ModuleNotFoundError" in result.stderr


def test_no_declared_index_is_no_error(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "native_y" / "numbers.py").write_text("")
    result = run()
    assert (result.exit_code, result.output) == (0, "No module of native_y declares an index.\n")


def test_a_terminal_gets_a_progress_bar(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Terminal(SafeConsole):
        def __init__(self, **options: object) -> None:
            super().__init__(force_terminal=True, stderr=True)
            seen.append(self)

    monkeypatch.setattr(cli, "SafeConsole", Terminal)
    result = run("numbers")
    assert result.exit_code == 0
    assert seen
    assert "Indexing numbers" in result.stderr
