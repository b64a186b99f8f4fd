from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

from legacy_flask import database


def test_a_request_has_one_connection_and_it_is_closed(app: Flask) -> None:
    with app.app_context():
        first, second = database.get(), database.get()
        assert first is second
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")


def test_preparing_waits_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "portal.sqlite3"
    with closing(database.connect(path)) as writer:
        writer.execute("CREATE TABLE other (x)")
        writer.execute("BEGIN EXCLUSIVE")
        waiting = threading.Thread(target=database.prepare, args=(path,))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        writer.execute("COMMIT")
        waiting.join(10)
        assert not waiting.is_alive()
    with closing(database.connect(path)) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_preparing_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path = tmp_path / "portal.sqlite3"
    with closing(database.connect(path)) as writer:
        writer.execute("CREATE TABLE other (x)")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(database.DataFolderError, match="locked"):
            database.prepare(path)


def test_entering_wal_mode_waits_where_sqlite_would_not() -> None:
    class Busy:
        asked = 0

        def execute(self, statement: str) -> None:
            self.asked += 1
            if self.asked < 3:
                raise sqlite3.OperationalError("database is locked")

    busy = Busy()
    database._enter_wal(busy)  # type: ignore[arg-type]
    assert busy.asked == 3


@pytest.mark.parametrize(("seconds", "reason"), [(0.0, "database is locked"), (10.0, "disk I/O error")])
def test_entering_wal_mode_gives_up(monkeypatch: pytest.MonkeyPatch, seconds: float, reason: str) -> None:
    class Broken:
        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError(reason)

    monkeypatch.setattr(database, "BUSY_SECONDS", seconds)
    with pytest.raises(sqlite3.OperationalError, match=reason):
        database._enter_wal(Broken())  # type: ignore[arg-type]
