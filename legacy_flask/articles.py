"""Questions to the catalogue, as the pages and the JSON API ask them."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PER_PAGE = 20
MAX_PER_PAGE = 100
REACH = 10_000  # how far paging goes; who wants all of it takes the export
LARGEST_ID = 2**63 - 1  # what SQLite can compare with

LISTED = "id, package, version, module, kind, name, title, summary"


class BadParameter(ValueError):
    """A parameter of the query string says what it may not say; the message is for the person who wrote it."""


@dataclass(frozen=True)
class Filters:
    package: str = ""
    kind: str = ""
    words: str = ""

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Filters:
        return cls(arguments.get("package", ""), arguments.get("kind", ""), arguments.get("q", "").strip()[:200])

    def where(self) -> tuple[str, list[str]]:
        """An SQL condition and its values."""
        conditions, values = ["1"], []
        if self.package:
            conditions.append("package = ?")
            values.append(self.package)
        if self.kind:
            conditions.append("kind = ?")
            values.append(self.kind)
        for word in self.words.split()[:8]:
            conditions.append(r"(title LIKE ? ESCAPE '\' OR text LIKE ? ESCAPE '\')")
            values += [f"%{_LIKE_SIGNS.sub(_escaped, word)}%"] * 2
        return " AND ".join(conditions), values


@dataclass(frozen=True)
class Page:
    """One page of a listing. A page past the end has no articles."""

    articles: list[dict[str, Any]]
    page: int
    per_page: int
    total: int

    @property
    def pages(self) -> int:
        return math.ceil(self.total / self.per_page)


def window(arguments: Mapping[str, str]) -> tuple[int, int]:
    """``page`` and ``per_page``. Raises BadParameter."""
    page = _number(arguments, "page", default=1, largest=REACH)
    size = _number(arguments, "per_page", default=PER_PAGE, largest=MAX_PER_PAGE)
    if page * size > REACH:
        raise BadParameter(f"page {page} is past the first {REACH} articles. Narrow it down by package and kind.")
    return page, size


def _number(arguments: Mapping[str, str], name: str, *, default: int, largest: int) -> int:
    text = arguments.get(name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= largest:
        raise BadParameter(f"{name} must be a whole number from 1 to {largest}.")
    return int(text)


def listing(database: sqlite3.Connection, filters: Filters, page: int = 1, size: int = PER_PAGE) -> Page:
    where, values = filters.where()
    (total,) = database.execute(f"SELECT count(*) FROM articles WHERE {where}", values).fetchone()
    rows = database.execute(
        f"SELECT {LISTED} FROM articles WHERE {where} ORDER BY position LIMIT ? OFFSET ?",
        [*values, size, (page - 1) * size],
    )
    return Page([dict(row) for row in rows], page, size, total)


def find(database: sqlite3.Connection, article_id: int) -> dict[str, Any] | None:
    """The article with all its fields but its position, or None."""
    if article_id > LARGEST_ID:
        return None
    row = database.execute(
        f"SELECT {LISTED}, signature, text, source, line FROM articles WHERE id = ?", (article_id,)
    ).fetchone()
    return None if row is None else dict(row)


def neighbours(database: sqlite3.Connection, article_id: int) -> tuple[sqlite3.Row | None, sqlite3.Row | None]:
    """The articles before and after this one, in reading order."""
    here = "(SELECT position FROM articles WHERE id = ?)"
    query = "SELECT id, title, kind FROM articles WHERE position {} ORDER BY position {} LIMIT 1"
    before = database.execute(query.format("< " + here, "DESC"), (article_id,)).fetchone()
    after = database.execute(query.format("> " + here, "ASC"), (article_id,)).fetchone()
    return before, after


def siblings(database: sqlite3.Connection, module: str, limit: int = 400) -> list[sqlite3.Row]:
    """What else the module documents."""
    return database.execute(
        "SELECT id, title, kind, name, line FROM articles WHERE module = ? ORDER BY position LIMIT ?", (module, limit)
    ).fetchall()


def package_counts(database: sqlite3.Connection) -> list[sqlite3.Row]:
    return database.execute(
        "SELECT package, max(version) AS version, count(*) AS articles FROM articles GROUP BY package ORDER BY package"
    ).fetchall()


def kind_counts(database: sqlite3.Connection) -> list[sqlite3.Row]:
    return database.execute(
        "SELECT kind, count(*) AS articles FROM articles GROUP BY kind ORDER BY articles DESC, kind"
    ).fetchall()


def built(database: sqlite3.Connection) -> sqlite3.Row | None:
    """When the catalogue was built and how many articles it has, or None before the first build."""
    row = database.execute("SELECT built, articles FROM catalogue").fetchone()
    return row if row is not None and row["articles"] else None


def every(database: sqlite3.Connection, filters: Filters, batch: int = 500) -> Iterator[sqlite3.Row]:
    """All articles that match, batch by batch, so that a slow reader holds no SQLite snapshot open."""
    where, values = filters.where()
    position = 0
    while True:
        rows = database.execute(
            f"SELECT position, {LISTED}, source, line FROM articles WHERE {where} AND position > ? "
            "ORDER BY position LIMIT ?",
            [*values, position, batch],
        ).fetchall()
        if not rows:
            return
        yield from rows
        position = rows[-1]["position"]


_LIKE_SIGNS = re.compile(r"[%_\\]")


def _escaped(sign: re.Match[str]) -> str:
    return "\\" + sign[0]
