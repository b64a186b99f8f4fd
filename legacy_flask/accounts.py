"""People who have an account."""

from __future__ import annotations

import re
import sqlite3
from functools import cache

from werkzeug.security import check_password_hash, generate_password_hash

from legacy_flask.articles import LARGEST_ID

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,31}")
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 200  # hashing a megabyte of password is a way to keep a server busy


def find(database: sqlite3.Connection, user_id: object) -> sqlite3.Row | None:
    if not isinstance(user_id, int) or abs(user_id) > LARGEST_ID:
        return None
    return database.execute("SELECT id, name, created FROM users WHERE id = ?", (user_id,)).fetchone()  # type: ignore[no-any-return]


def problem(name: str, password: str, again: str) -> str | None:
    """Why an account can't be made of this, or None."""
    if not NAME.fullmatch(name):
        return "A name has 2 to 32 letters, digits, dots, dashes or underscores, and begins with a letter or digit."
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        return f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."
    if password != again:
        return "The two passwords are not the same."
    return None


def create(database: sqlite3.Connection, name: str, password: str, method: str) -> int | None:
    """The id of the new account, or None where the name is taken."""
    try:
        cursor = database.execute(
            "INSERT INTO users (name, password) VALUES (?, ?)", (name, generate_password_hash(password, method))
        )
    except sqlite3.IntegrityError:
        return None
    return cursor.lastrowid


def verified(database: sqlite3.Connection, name: str, password: str, method: str) -> sqlite3.Row | None:
    """The account with this name and password, or None. An unknown name takes as long as a wrong password."""
    row = database.execute("SELECT id, name, password FROM users WHERE name = ?", (name,)).fetchone()
    known = row["password"] if row is not None else _nobodys_hash(method)
    matches = len(password) <= LONGEST_PASSWORD and check_password_hash(known, password)
    return row if row is not None and matches else None


@cache
def _nobodys_hash(method: str) -> str:
    return generate_password_hash("nobody has this password", method)
