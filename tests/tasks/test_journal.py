from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft.tasks.journal import Journal, SharedRotatingFile


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    logging.getLogger("graft.tasks").setLevel(logging.INFO)
    journal = Journal(tmp_path)
    journal.open()
    yield journal
    logging.getLogger("graft.tasks").setLevel(logging.NOTSET)


def test_lines_reach_the_file_and_the_console_with_the_request_id(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.write(logging.INFO, "task %s started", "1", request_id="abc")
    try:
        raise ValueError("no paper")
    except ValueError as error:
        journal.write(logging.ERROR, "task %s failed", "1", request_id=None, error=error)
    journal.close()
    text = (tmp_path / "async_tasks.log").read_text()
    assert "INFO    [abc] task 1 started" in text
    assert "ERROR   [-] task 1 failed\nTraceback (most recent call last):" in text
    assert "ValueError: no paper" in text
    assert caplog.messages == ["task 1 started", "task 1 failed"]


def test_a_level_that_nobody_wants_costs_nothing(tmp_path: Path, journal: Journal) -> None:
    journal.write(logging.DEBUG, "unseen", request_id=None)
    journal.close()
    assert not (tmp_path / "async_tasks.log").exists()


def write_many(path: Path, name: str, lines: int) -> None:
    handler = SharedRotatingFile(path, size=20_000, kept=50)
    for number in range(lines):
        handler.handle(logging.makeLogRecord({"msg": f"{name} {number} " + "x" * 50, "levelname": "INFO"}))
    handler.close()


def test_several_workers_rotate_one_file_and_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "async_tasks.log"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(path, f"worker{number}", 500)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    written = "".join(file.read_text() for file in tmp_path.glob("async_tasks.log*") if file.suffix != ".lock")
    assert len(written.splitlines()) == 1500
    assert all(f"worker{worker} {number} x" in written for worker in range(3) for number in range(500))
    assert len(list(tmp_path.glob("async_tasks.log.*"))) > 3


def test_a_file_that_can_not_be_written_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    handler = SharedRotatingFile(tmp_path / "data" / "async_tasks.log")
    for _ in range(3):
        handler.handle(logging.makeLogRecord({"msg": "hello", "levelname": "INFO"}))
    handler.close()
    assert capsys.readouterr().err.count("can't be written") == 1


def test_a_worker_follows_a_file_that_another_one_rotated(tmp_path: Path) -> None:
    path = tmp_path / "async_tasks.log"
    handler = SharedRotatingFile(path)
    line = logging.makeLogRecord({"msg": "hello", "levelname": "INFO"})
    handler.handle(line)
    path.rename(tmp_path / "async_tasks.log.1")
    handler.handle(line)
    handler.close()
    assert path.read_text() == (tmp_path / "async_tasks.log.1").read_text()


def test_only_one_of_two_workers_rotates(tmp_path: Path) -> None:
    path = tmp_path / "async_tasks.log"
    one, other = SharedRotatingFile(path, size=200), SharedRotatingFile(path, size=200)
    line = logging.makeLogRecord({"msg": "x" * 150, "levelname": "INFO"})
    for handler in (one, other):
        handler.handle(line)
    one.doRollover()
    other.doRollover()
    for handler in (one, other):
        handler.handle(line)
        handler.close()
    assert sum(len(file.read_text().splitlines()) for file in tmp_path.glob("async_tasks.log*")) == 4


def test_a_disk_that_refuses_a_rotation_is_told_once_and_loses_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = SharedRotatingFile(tmp_path / "async_tasks.log", size=10)
    line = logging.makeLogRecord({"msg": "x" * 50, "levelname": "INFO"})
    handler.handle(line)

    def refuse(*_: object) -> None:
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "rename", refuse)
    handler.handle(line)
    handler.handle(line)
    handler.close()
    assert capsys.readouterr().err.count("can't be rotated") == 1
    assert (tmp_path / "async_tasks.log").read_text().count("x" * 50) == 3
