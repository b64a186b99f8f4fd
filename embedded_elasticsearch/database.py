"""The SQLite file: connections per thread, transactions, and what its faults mean in Elasticsearch's words.

One file serves every worker process: write-ahead logging lets readers go on while one writer writes, and a writer
waits for the one before it. A connection is opened on first use in its thread, and never used after a fork.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from embedded_elasticsearch.errors import EngineError

BUSY_SECONDS = 5.0  # how long a writer waits for the writer before it
FORMAT = 1  # user_version of the file; another one is not ours to read
_CHECK_EVERY = 20_000  # virtual machine steps between two looks at the deadline: well under a millisecond

_SCHEMA = """
CREATE TABLE indices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    uuid TEXT NOT NULL,
    created INTEGER NOT NULL,
    mappings TEXT NOT NULL,
    mapping_version INTEGER NOT NULL DEFAULT 1,
    settings TEXT NOT NULL,
    next_seq INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE aliases (
    name TEXT NOT NULL,
    index_id INTEGER NOT NULL,
    PRIMARY KEY (name, index_id)
) WITHOUT ROWID;
CREATE TABLE fields (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    index_id INTEGER NOT NULL,
    path TEXT NOT NULL,
    UNIQUE (index_id, path)
);
CREATE TABLE tombstones (
    index_id INTEGER NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (index_id, id)
) WITHOUT ROWID;
"""
# The documents that the running search matched, and those of them that its post_filter lets pass: in memory, per
# connection, so that hits, total and aggregations all read one evaluation of the query.
_SCRATCH = """
CREATE TEMP TABLE matched (idx INTEGER, doc INTEGER, score REAL, PRIMARY KEY (idx, doc)) WITHOUT ROWID;
CREATE TEMP TABLE passed (idx INTEGER, doc INTEGER, score REAL, PRIMARY KEY (idx, doc)) WITHOUT ROWID;
"""


class Interrupted(Exception):
    """The caller gave up waiting, so the work was stopped."""


class Deadline:
    """Tells running SQL to stop. ``cancel()`` may come from any thread."""

    def __init__(self, seconds: float | None = None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def passed(self) -> bool:
        return self._cancelled or (self._at is not None and time.monotonic() > self._at)


class Database:
    """The file at ``path``. Nothing is opened until the first ``read()`` or ``write()``."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []

    @contextlib.contextmanager
    def read(self, deadline: Deadline | None = None) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction that sees one state of the file throughout."""
        with self._transaction("BEGIN", deadline) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection that holds the file's write lock; all is undone when the block raises."""
        with self._transaction("BEGIN IMMEDIATE", None) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str, deadline: Deadline | None) -> Iterator[sqlite3.Connection]:
        with self._translated():
            connection = self._connection()
            check: Callable[[], bool] | None = deadline.passed if deadline else None
            connection.set_progress_handler(check, _CHECK_EVERY)
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    # Opening

    def _connection(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self._leave_to_parent()
        identity = self._identity()
        held = getattr(self._local, "held", None)
        if held is not None and held[0] == identity and identity is not None:
            connection: sqlite3.Connection = held[1]
            return connection
        return self._reopen(held)

    def _leave_to_parent(self) -> None:
        """After a fork the old connections are the parent's: keep them referenced, since closing one would hurt it."""
        _PARENTS.extend(self._open)
        self._forget()

    def _identity(self) -> tuple[int, int] | None:
        """Which file it is: another one under the same name means that somebody removed ours."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _reopen(self, held: tuple[tuple[int, int], sqlite3.Connection] | None) -> sqlite3.Connection:
        if held is not None:
            self._local.held = None
            with self._lock:
                self._open.remove(held[1])
            held[1].close()
        connection = self._connect()
        with self._lock:
            self._open.append(connection)
        self._local.held = (self._identity(), connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < (3, 35):
            raise self._fault(f"SQLite {sqlite3.sqlite_version} is too old, 3.35 or newer is needed")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._patiently(connection, "PRAGMA journal_mode = WAL")
        # With write-ahead logging NORMAL never corrupts; a power cut may only lose the last moments.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        if self._format(connection) == 0:
            self._create(connection)
        if self._format(connection) != FORMAT:
            raise self._fault(f"its format is {self._format(connection)}, this version of the engine reads {FORMAT}")
        connection.executescript(_SCRATCH)

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._format(connection) == 0:  # no other process was quicker
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    @staticmethod
    def _format(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> None:
        """SQLite does not wait by itself when several processes switch the journal mode at once."""
        give_up = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Close the connections of all threads. Call it when none of them is at work."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            connections, self._open = self._open, []
        self._local = threading.local()
        for connection in connections:
            connection.close()

    # Faults

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error | OSError) -> Exception:
        text = str(error)
        if "interrupted" in text:
            return Interrupted()
        if "locked" in text or "busy" in text:
            reason = f"[{self.path}] is being written by another process for more than {self._busy_seconds:g} s"
            return EngineError(503, "process_cluster_event_timeout_exception", reason)
        if "full" in text or "No space" in text:
            return self._fault(f"{text}; free some space on that disk")
        if isinstance(error, sqlite3.OperationalError) and "readonly" in text:
            return self._fault(f"{text}; make the file and its folder writable for this user")
        if isinstance(error, OSError) or "unable to open" in text:
            return self._fault(f"{text}; check that the folder exists and is writable for this user")
        if "malformed" in text or "not a database" in text or "disk I/O" in text or "corrupt" in text:
            return self._fault(f"{text}; remove the file and index again")
        return self._fault(text)

    def _fault(self, what: str) -> EngineError:
        return EngineError(
            500, "embedded_storage_exception", f"the embedded search engine's file [{self.path}]: {what}"
        )


_PARENTS: list[sqlite3.Connection] = []
