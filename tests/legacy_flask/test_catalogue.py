from __future__ import annotations

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from legacy_flask import catalogue, passages
from legacy_flask.settings import database_path
from tests.legacy_flask.portal import make_app, rows


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "INSTALLED", {"itsdangerous": "itsdangerous", "not_here": "not-here"})
    monkeypatch.setattr(catalogue, "STANDARD_LIBRARY", ("json", "contextvars", "socketserver", "nonsense", "sys"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return database_path(tmp_path)


def everything(path: Path) -> list[dict[str, Any]]:
    return list(catalogue.articles(path))


def test_a_build_reads_what_is_installed(path: Path) -> None:
    built = catalogue.build(path)
    found = everything(path)
    assert built.is_new
    assert built.articles == len(found) > 50
    assert {article["package"] for article in found} == {"itsdangerous", "json", "socketserver"}
    assert [article["position"] for article in found] == list(range(1, len(found) + 1))


def test_each_article_says_where_it_stands(path: Path) -> None:
    catalogue.build(path)
    (article,) = (article for article in everything(path) if article["name"] == "json.decoder.JSONDecoder")
    assert article["source"] == "json/decoder.py"
    import json.decoder as module

    line = Path(module.__file__).read_text(encoding="utf-8").splitlines()[article["line"] - 1]
    assert line.startswith("class JSONDecoder")


def test_a_second_build_has_nothing_to_do(path: Path) -> None:
    first = catalogue.build(path)
    again = catalogue.build(path)
    assert (again.is_new, again.articles) == (False, first.articles)


def test_a_forced_build_gives_the_same_articles_under_the_same_numbers(path: Path) -> None:
    catalogue.build(path)
    before = everything(path)
    assert catalogue.build(path, force=True).is_new
    assert everything(path) == before


def test_numbers_do_not_depend_on_the_other_packages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.build(path)
    before = {article["name"]: article["id"] for article in everything(path)}
    monkeypatch.setattr(catalogue, "STANDARD_LIBRARY", ("json", "asyncio"))
    assert catalogue.build(path).is_new  # another set of packages is another catalogue
    after = {article["name"]: article["id"] for article in everything(path)}
    assert {name: after[name] for name in before if name in after} == {
        name: number for name, number in before.items() if name in after
    }
    assert len(set(after.values())) == len(after)


def test_names_that_would_share_a_number_get_two() -> None:
    taken: set[int] = set()
    passage = passages.Passage("m", passages.Kind.CLASS, "m.C", "", "", "", "", 1)
    assert catalogue._identity("m", passage, taken) != catalogue._identity("m", passage, taken)


def test_a_build_that_fails_half_way_leaves_the_old_catalogue(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.build(path)
    before = everything(path)
    rows_of = catalogue._rows

    def broken(chosen: Any, advance: Any) -> Any:
        found, unreadable = rows_of(chosen, advance)
        return [*found, found[0]], unreadable  # a repeated id: the insert fails after all the others

    monkeypatch.setattr(catalogue, "_rows", broken)
    with pytest.raises(Exception, match="UNIQUE"):
        catalogue.build(path, force=True)
    assert everything(path) == before


def test_builds_at_the_same_time_do_the_work_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(4)
    replace = catalogue._replace

    def together(*arguments: Any, **options: Any) -> int:
        barrier.wait(100)  # all have read, none has written
        return replace(*arguments, **options)

    monkeypatch.setattr(catalogue, "_replace", together)
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: catalogue.build(path), range(4)))
    assert len({result.articles for result in built}) == 1
    assert len(everything(path)) == built[0].articles


def test_readers_are_not_disturbed_by_a_build(tmp_path: Path, path: Path) -> None:
    catalogue.build(path)
    client = make_app(tmp_path).test_client()
    total = client.get("/api/articles").get_json()["total"]
    build = threading.Thread(target=catalogue.build, args=(path,), kwargs={"force": True})
    build.start()
    seen = set()
    while build.is_alive():
        seen.add(client.get("/api/articles").get_json()["total"])
    build.join()
    assert seen <= {total}


def test_files_that_cannot_be_read_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "lib"
    (root / "odd").mkdir(parents=True)
    (root / "odd" / "__init__.py").write_text('"""Odd."""')
    (root / "odd" / "broken.py").write_text("def (")
    (root / "odd" / "_private.py").write_text('"""Private."""')
    (root / "odd" / "tests.py").write_text('"""Tests."""')
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(catalogue, "STANDARD_LIBRARY", ("odd",))
    monkeypatch.setattr(catalogue, "INSTALLED", {})
    built = catalogue.build(database_path(tmp_path))
    assert (built.articles, built.unreadable) == (1, 1)


def test_where_there_is_no_catalogue_there_are_no_articles(tmp_path: Path) -> None:
    assert everything(database_path(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_reading_asks_the_environment_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATA", str(tmp_path))
    catalogue.build(database_path(tmp_path))
    assert len(list(catalogue.articles())) > 50


def test_nothing_that_is_read_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text('"""Trap."""\nraise SystemExit("it was run")')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(catalogue, "STANDARD_LIBRARY", ("trap",))
    catalogue.build(database_path(tmp_path))
    assert "trap" not in sys.modules


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    runner = CliRunner()
    first = runner.invoke(catalogue.build_catalogue, ["--data", str(tmp_path / "new")])
    assert first.exit_code == 0
    assert "Reading the documentation" in first.output
    assert "articles built in" in first.output
    again = runner.invoke(catalogue.build_catalogue, ["--data", str(tmp_path / "new")])
    assert again.output.startswith("The catalogue is up to date")
    assert len(again.output.splitlines()) == 1


def test_the_command_is_there_in_flask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATA", str(tmp_path))
    ran = make_app(tmp_path).test_cli_runner().invoke(args=["build-catalogue", "--force"])
    assert ran.exit_code == 0
    assert len(rows(tmp_path, "SELECT id FROM articles")) > 50


def test_a_terminal_gets_a_progress_bar(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(catalogue, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    catalogue._build_with_progress(path, force=False)
    assert "/" in screen.getvalue()
    assert "━" in screen.getvalue()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = CliRunner().invoke(catalogue.build_catalogue, ["--data", str(tmp_path / "file" / "data")])
    assert ran.exit_code == 2
    assert len(ran.output.splitlines()) == 1
    assert ran.output.startswith("build-catalogue: ")


def test_the_module_runs_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "legacy_flask.catalogue", "--data", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert 3000 < len(rows(tmp_path, "SELECT id FROM articles")) < 10_000
