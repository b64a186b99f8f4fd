"""Where tasks are written down, so that every worker can tell them and a restart knows what was lost.

One SQLite file for all workers. A thread of its own writes: what changes while it writes goes together into the next
transaction, so ten thousand tasks cost the event loop a dictionary entry each. New tasks are written at once, since
answers wait for them; what becomes of them may gather for a moment. What the file can't take (disk full, folder
read-only) is kept in memory and tried again.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

from graft import files
from graft.tasks.commits import Commit
from graft.tasks.presence import Presence
from graft.tasks.records import UNFINISHED, Step, TaskRecord, TaskState

log = logging.getLogger("graft.tasks")

PAUSE = 0.02  # seconds between two transactions in which changes gather; a new task ends it
LOOK = 1.0  # seconds between two looks whether the file is still the one that is written to
RETRY = 1.0  # seconds until a failed one is tried again
KEPT_SECONDS = 7 * 24 * 3600.0
KEPT_ENDED = 100_000
UNWRITTEN_ENDED = 10_000  # ended tasks kept in memory while the file can't be written

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    steps TEXT NOT NULL, -- JSON: [[unix time, text], ...]
    error TEXT,
    request_id TEXT,
    created REAL NOT NULL, -- Unix time, as are the next two
    started REAL,
    ended REAL,
    worker TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tasks_by_state ON tasks (state, worker);
CREATE INDEX IF NOT EXISTS tasks_by_end ON tasks (ended) WHERE ended IS NOT NULL;
"""
_COLUMNS = "id, name, state, steps, error, request_id, created, started, ended"
_VALUES = f"INTO tasks ({_COLUMNS}, worker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_WRITE = f"INSERT OR REPLACE {_VALUES}"


class ChangingTask(Protocol):
    """A task that changes; ``record()`` may be asked from the writer's thread."""

    id: str
    state: TaskState

    def record(self) -> TaskRecord: ...


class Ledger:
    """The tasks of all workers in ``path``. ``enter`` and ``note`` take nothing but memory; all else touches the disk
    and blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.presence = Presence(path.with_name("workers"))
        self._unwritten: dict[str, ChangingTask] = {}
        self._writing: dict[str, ChangingTask] = {}
        self._commit: Commit | None = None  # of what was entered and is not being written yet
        self._lock = threading.Lock()
        self._disk = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._end = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None  # of the connection
        self._thread = threading.Thread(target=self._write_on, name="graft-tasks", daemon=True)
        self._failing = False

    def open(self) -> int:
        """Begin to write. Gives the number of tasks of dead workers that were marked as lost."""
        lost = 0
        with self._disk:
            try:
                lost = self._mark_lost(self._connected())
            except (OSError, sqlite3.Error) as error:
                self._failed(error)
        self._thread.start()
        return lost

    def close(self) -> None:
        """Write what is left, end the thread."""
        self._end.set()
        self._hurry.set()
        self._wake.set()
        self._thread.join()
        with self._disk:
            self._disconnect()
            self.presence.end()

    def enter(self, task: ChangingTask) -> Commit | None:
        """``task`` is new: write it down now. Gives the transaction that it will be in; None while nothing can be
        written, which must not hold anybody up. From any thread."""
        with self._lock:
            self._unwritten[task.id] = task
            if not self._failing and self._commit is None:
                self._commit = Commit()
            commit = self._commit
        for event in (self._hurry, self._wake):
            if not event.is_set():
                event.set()
        return commit

    def note(self, task: ChangingTask) -> None:
        """``task`` has changed: write it down soon. From any thread."""
        with self._lock:
            self._unwritten[task.id] = task
        if not self._wake.is_set():
            self._wake.set()

    def find(self, task_id: str) -> TaskRecord | None:
        with self._lock:
            task = self._unwritten.get(task_id) or self._writing.get(task_id)
        if task is not None:
            return task.record()
        query = f"SELECT {_COLUMNS} FROM tasks WHERE id = ?"
        rows = self._read(query, (task_id,))
        if not rows and self._has_moved():
            self.flush()
            rows = self._read(query, (task_id,))
        return _record(rows[0]) if rows else None

    def counts(self) -> dict[TaskState, int]:
        """How many tasks of all workers are in each state; ended ones of the last seven days."""
        self.flush()
        counts = dict.fromkeys(TaskState, 0)
        for state, number in self._read("SELECT state, count(*) FROM tasks GROUP BY state"):
            counts[TaskState(state)] = number
        with self._lock:
            unwritten = list({**self._writing, **self._unwritten}.values())
        for task in unwritten if self._failing else ():
            counts[task.state] += 1
        return counts

    def flush(self) -> None:
        """Write what was noted so far, now; to the file of now, should somebody have taken away the one of before."""
        with self._disk:
            try:
                self._follow()
                self._write()
            except (OSError, sqlite3.Error) as error:
                self._failed(error)

    # The file

    def _read(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            address = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, timeout=2, uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._failing and not self._has_moved():
                log.warning("background tasks can't be read from %s: %s", self.path, error)
            return []

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection, self._file = self._connect()
        return self._connection

    def _connect(self) -> tuple[sqlite3.Connection, os.stat_result]:
        files.make_data_folder(self.path.parent)
        files.keep_to_owner(self.path)
        connection = sqlite3.connect(self.path, timeout=5, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose a second, a crash nothing
            connection.execute("PRAGMA cache_size = -256")  # KiB; 2 MB of old tasks would do nothing for new ones
            connection.executescript(_SCHEMA)
            return connection, self.path.stat()
        except BaseException:
            connection.close()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _has_moved(self) -> bool:
        """Whether the file that is written to is no longer the one at ``path``: SQLite itself would never notice."""
        if self._connection is None or self._file is None:
            return False
        try:
            return not os.path.samestat(self.path.stat(), self._file)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def _follow(self) -> None:
        """Go on in the file at ``path``, with all that the one of before had. Raises OSError and sqlite3.Error, and
        holds on to the one of before: as long as it is open it can be read."""
        self.presence.renew()
        if not self._has_moved():
            return
        before = self._connected()
        connection, file = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            # Another worker may have copied all rows by now, and its tasks have gone on since: those are its own. But
            # it may have copied ours as they were before we last wrote to the file that is gone.
            connection.executemany(f"INSERT OR IGNORE {_VALUES}", self._old_rows(before, "worker != ?"))
            connection.executemany(_WRITE, self._old_rows(before, "worker = ?"))
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, file
        before.close()
        log.warning("%s was gone, or is another file: background tasks were written to it anew", self.path)

    def _old_rows(self, before: sqlite3.Connection, whose: str) -> Iterator[tuple[object, ...]]:
        try:
            yield from before.execute(f"SELECT {_COLUMNS}, worker FROM tasks WHERE {whose}", (self.presence.worker,))
        except sqlite3.Error as error:
            log.error("background tasks of before can't be read: %s", error)

    def _mark_lost(self, connection: sqlite3.Connection) -> int:
        unfinished = ", ".join(f"'{state}'" for state in UNFINISHED)
        workers = connection.execute(f"SELECT DISTINCT worker FROM tasks WHERE state IN ({unfinished})").fetchall()
        dead = [worker for (worker,) in workers if not self.presence.is_alive(str(worker))]
        lost = 0
        for worker in dead:
            update = f"UPDATE tasks SET state = '{TaskState.LOST}', ended = ?, error = ? WHERE worker = ?"
            values = (time.time(), "the worker that ran it died", worker)
            lost += int(connection.execute(f"{update} AND state IN ({unfinished})", values).rowcount)
        self.presence.clear()
        self._forget_old(connection)
        return lost

    def _forget_old(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM tasks WHERE ended < ?", (time.time() - KEPT_SECONDS,))
        oldest = "SELECT ended FROM tasks WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT 1 OFFSET ?"
        connection.execute(f"DELETE FROM tasks WHERE ended < ({oldest})", (KEPT_ENDED,))

    # The writer's thread

    def _write_on(self) -> None:
        next_clearing = time.monotonic() + 3600
        while not self._end.is_set():
            self._wake.wait(LOOK)
            # Cleared before the batch is taken: what comes in between is in this one, or wakes for the next.
            self._wake.clear()
            self._hurry.clear()
            self.flush()
            if self._failing:
                self._end.wait(RETRY)
                self._wake.set()
            else:
                self._hurry.wait(PAUSE)
            if time.monotonic() > next_clearing:
                next_clearing = time.monotonic() + 3600
                with self._disk, suppress(OSError, sqlite3.Error):
                    self._forget_old(self._connected())
        self.flush()

    def _write(self) -> None:
        with self._lock:
            batch, self._unwritten = self._unwritten, {}
            commit, self._commit = self._commit, None
            self._writing = batch
        if not batch:
            return
        try:
            connection = self._connected()
            self.presence.show()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_WRITE, self._rows(batch.values()))
            connection.execute("COMMIT")
        except BaseException:
            with self._lock:
                self._unwritten = _bounded({**batch, **self._unwritten})
                self._writing = {}
            raise
        finally:
            if commit is not None:
                commit.set_result(None)
        with self._lock:
            self._writing = {}
        self._recovered()

    def _rows(self, tasks: Iterable[ChangingTask]) -> Iterable[tuple[object, ...]]:
        for task in tasks:
            one = task.record()
            steps = json.dumps([(step.at, step.text) for step in one.steps]) if one.steps else "[]"
            times = (one.created, one.started, one.ended)
            yield one.id, one.name, one.state, steps, one.error, one.request_id, *times, self.presence.worker

    def _failed(self, error: Exception) -> None:
        if not self._has_moved():
            self._disconnect()
        if not self._failing:
            self._failing = True
            message = "background tasks can't be written to %s: %s; they run on, and only this worker can tell them"
            log.error(message, self.path, error)

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            log.info("background tasks are written to %s again", self.path)


def _bounded(tasks: dict[str, ChangingTask]) -> dict[str, ChangingTask]:
    """Without the oldest of those that have ended, where they are too many."""
    ended = [task_id for task_id, task in tasks.items() if task.state not in UNFINISHED]
    for task_id in ended[: max(0, len(ended) - UNWRITTEN_ENDED)]:
        del tasks[task_id]
    return tasks


def _record(row: tuple[Any, ...]) -> TaskRecord:
    task_id, name, state, steps, *rest = row
    return TaskRecord(task_id, name, TaskState(state), tuple(Step(*step) for step in json.loads(steps)), *rest)
