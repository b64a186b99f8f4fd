from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from graft.tasks import ledger as ledger_module
from graft.tasks.ledger import Ledger
from graft.tasks.presence import LEFT_BEHIND, Presence
from graft.tasks.records import TaskRecord, TaskState, new_id
from tests.parts import wait_until


class Noted:
    def __init__(self, state: TaskState = TaskState.RUNNING) -> None:
        self.id = new_id()
        self.state = state
        self.at = time.time()

    def record(self) -> TaskRecord:
        unfinished = self.state in (TaskState.WAITING, TaskState.RUNNING)
        return TaskRecord(
            self.id, "work", self.state, (), None, None, self.at, self.at, None if unfinished else self.at
        )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "data" / "tasks.sqlite3")
    ledger.open()
    yield ledger
    ledger.close()


def test_what_is_noted_is_told_at_once_and_written_soon(ledger: Ledger) -> None:
    task = Noted()
    ledger.note(task)
    assert ledger.find(task.id) == task.record()
    wait_until(lambda: rows(ledger.path) == {task.id: "running"}, 5, "the row")
    task.state = TaskState.DONE
    ledger.note(task)
    wait_until(lambda: rows(ledger.path) == {task.id: "done"}, 5, "the new state")
    assert ledger.find(task.id) == task.record()


def test_closing_writes_what_is_left(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "tasks.sqlite3")
    ledger.open()
    noted = [Noted(TaskState.DONE) for _ in range(500)]
    for task in noted:
        ledger.note(task)
    ledger.close()
    assert set(rows(ledger.path)) == {task.id for task in noted}
    assert list((tmp_path / "workers").iterdir()) == []


def test_tasks_of_a_worker_that_was_killed_are_lost_those_of_a_living_one_are_not(
    tmp_path: Path, ledger: Ledger
) -> None:
    alive = Noted()
    ledger.note(alive)
    ledger.flush()
    dead = dying_worker(ledger.path)
    later = Ledger(ledger.path)
    assert later.open() == 1
    try:
        assert rows(ledger.path) == {alive.id: "running", dead: "lost"}
        record = later.find(dead)
        assert record is not None
        assert record.error == "the worker that ran it died"
        assert record.ended is not None
    finally:
        later.close()


def dying_worker(path: Path) -> str:
    """The id of a task whose worker got SIGKILL in the middle of it, and had forked a child that lives on."""
    code = """
import os, sys, time
from pathlib import Path
from graft.tasks.ledger import Ledger
from tests.tasks.test_ledger import Noted
ledger = Ledger(Path(sys.argv[1]))
ledger.open()
task = Noted()
ledger.note(task)
ledger.flush()
child = os.fork()
if child == 0:
    time.sleep(60)
print(task.id, child, flush=True)
time.sleep(60)
"""
    worker = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    task_id, child = worker.stdout.readline().split()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    found = Ledger(path)
    worker_id = worker_of(path, task_id)
    wait_until(lambda: not found.presence.is_alive(worker_id), 10, "the child to let go of its parent's lock")
    os.kill(int(child), signal.SIGKILL)
    return task_id


def worker_of(path: Path, task_id: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        (worker,) = connection.execute("SELECT worker FROM tasks WHERE id = ?", (task_id,)).fetchone()
    return str(worker)


def test_a_file_that_can_not_be_written_stops_nothing_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "RETRY", 0.01)
    blocked = tmp_path / "data"
    blocked.write_text("a file where the folder should be")
    ledger = Ledger(blocked / "tasks.sqlite3")
    assert ledger.open() == 0
    task, done = Noted(), Noted(TaskState.DONE)
    ledger.note(task)
    ledger.note(done)
    ledger.flush()
    assert ledger.find(task.id) == task.record()
    counts = ledger.counts()
    assert (counts[TaskState.RUNNING], counts[TaskState.DONE]) == (1, 1)
    assert ledger.find(new_id()) is None
    assert sum("can't be written" in line for line in caplog.messages) == 1
    blocked.unlink()
    wait_until(lambda: set(rows(ledger.path)) == {task.id, done.id}, 5, "the rows")
    ledger.close()


def test_a_broken_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tasks.sqlite3"
    path.write_bytes(b"this is no database " * 100)
    ledger = Ledger(path)
    ledger.open()
    ledger.close()
    assert f"background tasks can't be written to {path}: file is not a database" in caplog.text


def test_a_file_that_vanished_is_told_when_it_is_read(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger.path.unlink()
    assert ledger.find(new_id()) is None
    assert caplog.text.count("tasks.sqlite3 was gone") == 1
    assert ledger.path.exists()


def test_memory_is_bounded_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "UNWRITTEN_ENDED", 10)
    monkeypatch.setattr(ledger_module, "RETRY", 60)
    (tmp_path / "data").write_text("")
    ledger = Ledger(tmp_path / "data" / "tasks.sqlite3")
    ledger.open()
    running = Noted()
    ledger.note(running)
    for _ in range(50):
        ledger.note(Noted(TaskState.DONE))
    ledger.flush()
    assert ledger.counts()[TaskState.DONE] == 10
    assert ledger.find(running.id) is not None
    ledger.close()


def test_old_tasks_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "KEPT_ENDED", 5)
    first = Ledger(tmp_path / "tasks.sqlite3")
    first.open()
    ancient = Noted(TaskState.DONE)
    ancient.at -= ledger_module.KEPT_SECONDS + 1
    noted = [Noted(TaskState.DONE) for _ in range(20)]
    for number, task in enumerate(noted):
        task.at += number
    for task in (ancient, *noted):
        first.note(task)
    first.close()
    second = Ledger(first.path)
    second.open()
    second.close()
    assert set(rows(first.path)) == {task.id for task in noted[-6:]}


def test_files_of_workers_long_gone_are_removed(tmp_path: Path) -> None:
    alive, here = Presence(tmp_path), Presence(tmp_path)
    alive.show()
    gone, fresh = tmp_path / "gone.lock", tmp_path / "fresh.lock"
    for path in (gone, fresh):
        path.touch()
    for path in tmp_path.iterdir():
        if path != fresh:
            os.utime(path, (time.time() - LEFT_BEHIND - 10,) * 2)
    here.clear()
    assert {path.name for path in tmp_path.iterdir()} == {"fresh.lock", f"{alive.worker}.lock"}
    assert here.is_alive(alive.worker)
    assert not here.is_alive("fresh")
    alive.end()
    assert not here.is_alive(alive.worker)


def rows(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT id, state FROM tasks").fetchall())


def test_a_file_that_is_deleted_is_made_anew_with_all_that_it_had(ledger: Ledger) -> None:
    other = Ledger(ledger.path)
    other.open()
    try:
        ours, theirs, long_gone = Noted(), Noted(), dying_worker(ledger.path)
        ledger.note(ours)
        other.note(theirs)
        for one in (ledger, other):
            one.flush()
        take_away(ledger.path.parent)
        ledger.flush()
        ours.state = TaskState.DONE  # after its row may have been copied as it was before
        ledger.note(ours)
        ledger.flush()
        other.flush()
        expected = {ours.id: "done", theirs.id: "running", long_gone: "running"}
        assert rows(ledger.path) == expected
        later = Ledger(ledger.path)
        assert later.open() == 1  # the dead worker's: those of the two others still show that they live
        later.close()
        assert rows(ledger.path) == {**expected, long_gone: "lost"}
    finally:
        other.close()


def test_what_was_last_written_to_the_deleted_file_is_what_the_new_one_has(ledger: Ledger) -> None:
    other = Ledger(ledger.path)
    other.open()
    try:
        task = Noted()
        ledger.note(task)
        ledger.flush()
        take_away(ledger.path.parent)
        other.flush()  # copies it as running
        task.state = TaskState.DONE
        with closing(sqlite3.connect(ledger.path)) as connection:  # as if we had not yet seen that it is gone
            assert connection.execute("SELECT state FROM tasks").fetchall() == [("running",)]
        assert ledger._connection is not None
        ledger._connection.execute("UPDATE tasks SET state = 'done'")
        ledger.flush()
        assert rows(ledger.path) == {task.id: "done"}
    finally:
        other.close()


def take_away(folder: Path) -> None:
    """At once: the ledger's thread may make a folder in it again while it is emptied."""
    shutil.rmtree(folder.rename(folder.with_name("away")))


def put_in_the_way_of(folder: Path) -> None:
    """A file of that name. The ledger's thread may be quicker, and have made the folder anew."""
    while True:
        take_away(folder)
        try:
            folder.write_text("in the way")
        except IsADirectoryError:
            continue
        return


def test_a_file_that_can_not_be_made_anew_yet_is_made_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_module, "RETRY", 0.05)
    folder, before, after = ledger.path.parent, Noted(), Noted()
    ledger.note(before)
    ledger.flush()
    put_in_the_way_of(folder)
    ledger.note(after)
    wait_until(lambda: "can't be written" in caplog.text, 5, "the line")
    folder.unlink()
    wait_until(lambda: folder.exists() and rows(ledger.path).keys() == {before.id, after.id}, 5, "both tasks")
