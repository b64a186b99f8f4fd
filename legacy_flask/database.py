"""The portal's SQLite file: one connection a request, kept on ``g``, closed in teardown."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from flask import Flask, current_app, g

from legacy_flask.settings import DataFolderError, database_path

BUSY_SECONDS = 10.0
SCHEMA = Path(__file__).with_name("schema.sql")


def init_app(app: Flask) -> None:
    prepare(database_path(app.config["PORTAL_DATA"]))
    app.teardown_appcontext(close)


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose rows are ``sqlite3.Row``. Statements outside an explicit BEGIN commit by themselves.

    It may be used from another thread than the one that opened it, one at a time: Flask runs an async view in
    another thread than the ``before_request`` functions of the same request.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")  # safe with WAL: a power cut may lose the last commit, no more
    return connection


def prepare(path: Path) -> None:
    """Make the file and its tables where they are missing. Any number of processes may call this at once."""
    try:
        connection = connect(path)
        try:
            _enter_wal(connection)
            connection.executescript(SCHEMA.read_text(encoding="utf-8"))
        finally:
            connection.close()
    except (sqlite3.DatabaseError, OSError) as error:
        raise DataFolderError(
            f"PORTAL_DATA: can't use {path} ({error}). Point PORTAL_DATA at a folder that can be written, "
            "or move that file away."
        ) from error


def _enter_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for a lock here, whatever its busy timeout: with several workers starting at once we do.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def get() -> sqlite3.Connection:
    """The connection of the current request."""
    if "database" not in g:
        g.database = connect(database_path(current_app.config["PORTAL_DATA"]))
    return g.database  # type: ignore[no-any-return]


def close(error: BaseException | None = None) -> None:
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()
