"""What people marked to find it again."""

from __future__ import annotations

import sqlite3
from typing import Any


def add(database: sqlite3.Connection, user_id: int, article: dict[str, Any]) -> bool:
    """Whether it is new. The title is kept, for the time when the passage is gone from the catalogue."""
    cursor = database.execute(
        "INSERT OR IGNORE INTO bookmarks (user_id, article_id, title) VALUES (?, ?, ?)",
        (user_id, article["id"], article["title"]),
    )
    return cursor.rowcount == 1


def remove(database: sqlite3.Connection, user_id: int, article_id: int) -> bool:
    """Whether there was one."""
    cursor = database.execute("DELETE FROM bookmarks WHERE user_id = ? AND article_id = ?", (user_id, article_id))
    return cursor.rowcount == 1


def has(database: sqlite3.Connection, user_id: int, article_id: int) -> bool:
    row = database.execute("SELECT 1 FROM bookmarks WHERE user_id = ? AND article_id = ?", (user_id, article_id))
    return row.fetchone() is not None


def of(database: sqlite3.Connection, user_id: int) -> list[sqlite3.Row]:
    """All of one person, newest first. ``kind`` is None where the passage is not in the catalogue now."""
    return database.execute(
        "SELECT b.article_id AS id, coalesce(a.title, b.title) AS title, a.kind, a.package, a.summary, b.created "
        "FROM bookmarks b LEFT JOIN articles a ON a.id = b.article_id WHERE b.user_id = ? "
        "ORDER BY b.created DESC, b.rowid DESC",
        (user_id,),
    ).fetchall()


def latest(database: sqlite3.Connection, user_id: int | None, limit: int = 6) -> list[sqlite3.Row]:
    """The newest bookmarks of one person, or of all people together without saying whose they are."""
    return database.execute(
        "SELECT a.id, a.title, a.kind, a.package, a.summary, max(b.created) AS created "
        "FROM bookmarks b JOIN articles a ON a.id = b.article_id WHERE ? IS NULL OR b.user_id = ? "
        "GROUP BY a.id ORDER BY created DESC, max(b.rowid) DESC LIMIT ?",
        (user_id, user_id, limit),
    ).fetchall()
