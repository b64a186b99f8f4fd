"""Differences in a SQLite file that all workers of a host share.

Each write opens the file anew, in a thread: once a second at most, and so a file that was deleted comes back with the
next write, and a worker that forks or dies holds nothing. SQLite's own journal, not its write-ahead log: then there is
one file, which a program may read that can't write in the folder.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from graft import files
from graft.errors import DifferencesError
from graft.mirroring.differences.document import KeptDifference, LearnedNoise
from graft.mirroring.differences.store import DAYS, KEPT, SHOWN, oldest
from graft.types import RouteKey

BUSY_SECONDS = 5.0  # how long one worker waits for another that writes

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS differences (
        id TEXT PRIMARY KEY,
        route TEXT NOT NULL,
        what TEXT NOT NULL,
        at TEXT NOT NULL, -- ISO 8601 in UTC: sorts by time
        detail TEXT NOT NULL -- JSON
    )""",
    "CREATE INDEX IF NOT EXISTS differences_by_route ON differences (route, at)",
    "CREATE INDEX IF NOT EXISTS differences_by_time ON differences (at)",
    "CREATE TABLE IF NOT EXISTS noise (route TEXT, what TEXT, at TEXT NOT NULL, PRIMARY KEY (route, what))",
)
_TRIM = """DELETE FROM differences WHERE route = :route AND id NOT IN (
    SELECT id FROM differences WHERE route = :route ORDER BY at DESC, id DESC LIMIT :kept
)"""


class SqliteStore:
    """The differences in the file ``path``, which need not be there yet."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS, days: float = DAYS) -> None:
        self.path = path
        self._days = days
        self._busy_seconds = busy_seconds

    async def write(self, differences: Sequence[KeptDifference], noise: Sequence[LearnedNoise]) -> list[str]:
        await asyncio.to_thread(self._write, differences, noise)
        return []

    async def newest(self, route: RouteKey | None = None) -> list[KeptDifference]:
        return await asyncio.to_thread(self._newest, route)

    async def noise(self, route: RouteKey | None = None) -> list[LearnedNoise]:
        rows = await asyncio.to_thread(self._read, "SELECT route, what, at FROM noise", route, "ORDER BY route, what")
        return [LearnedNoise(RouteKey.parse(key), what, at) for key, what, at in rows]

    async def forget_old(self) -> None:
        await asyncio.to_thread(self._forget_old)

    async def clear(self, route: RouteKey | None = None) -> int:
        return await asyncio.to_thread(self._clear, route)

    # In a thread

    def _write(self, differences: Sequence[KeptDifference], noise: Sequence[LearnedNoise]) -> None:
        rows = [(one.id, str(one.route), one.what, one.at, json.dumps(one.detail)) for one in differences]
        with self._changing() as connection:
            connection.executemany("INSERT OR REPLACE INTO differences VALUES (?, ?, ?, ?, ?)", rows)
            for route in {row[1] for row in rows}:
                connection.execute(_TRIM, {"route": route, "kept": KEPT})
            learned = [(str(one.route), one.what, one.at) for one in noise]
            connection.executemany("INSERT OR REPLACE INTO noise VALUES (?, ?, ?)", learned)

    def _forget_old(self) -> None:
        if not self.path.exists():
            return
        with self._changing() as connection:
            for table in ("differences", "noise"):
                connection.execute(f"DELETE FROM {table} WHERE at < ?", (oldest(self._days),))

    def _clear(self, route: RouteKey | None) -> int:
        if not self.path.exists():
            return 0
        where, values = ("WHERE route = ?", (str(route),)) if route is not None else ("", ())
        with self._changing() as connection:
            connection.execute(f"DELETE FROM noise {where}", values)
            return connection.execute(f"DELETE FROM differences {where}", values).rowcount

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the file, which is made if it is not there. Raises DifferencesError."""
        try:
            files.make_data_folder(self.path.parent)
            files.keep_to_owner(self.path)
            connection = sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None)
            with closing(connection):
                connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten in the file
                # IMMEDIATE: two workers that both read first and then want to write could not wait for each other.
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                yield connection
                connection.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def _newest(self, route: RouteKey | None) -> list[KeptDifference]:
        limit = SHOWN if route is None else KEPT
        found = self._read(
            "SELECT id, route, what, at, detail FROM differences", route, f"ORDER BY at DESC, id DESC LIMIT {limit}"
        )
        eldest = oldest(self._days)
        return [
            KeptDifference(id_, RouteKey.parse(key), what, at, json.loads(detail))
            for id_, key, what, at, detail in found
            if at >= eldest
        ]

    def _read(self, select: str, route: RouteKey | None, order: str) -> list[tuple[Any, ...]]:
        where, values = ("WHERE route = ?", (str(route),)) if route is not None else ("", ())
        try:
            address = f"{self.path.absolute().as_uri()}?mode=ro"  # reading must not make the file
            with closing(sqlite3.connect(address, timeout=self._busy_seconds, uri=True)) as connection:
                # Another worker may have made the file this instant, and its tables not yet.
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    return []
                return connection.execute(f"{select} {where} {order}", values).fetchall()
        except sqlite3.Error as error:
            if not self.path.exists():
                return []
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DifferencesError:
        # SQLITE_NOTADB and SQLITE_CORRUPT come as DatabaseError itself, all other faults as a subclass of it.
        mend = "; delete the file, it is made anew" if type(error) is sqlite3.DatabaseError else ""
        return DifferencesError(f"{self.path}: {error}{mend}")
