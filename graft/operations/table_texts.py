"""switches.toml as the texts of its tables: to change one route's table without reading all of them with tomlkit.

tomlkit keeps every comment and needs a fifth of a millisecond a table for it. So a file of plain ``["GET /path"]``
tables is cut at its headers, and each table that is changed is given to tomlkit alone. Where a line only looks like a
header the cut is wrong: so whoever uses it has to compare what the outcome says with what it should say.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import tomlkit
from tomlkit.items import AbstractTable

from graft.types import RouteKey

_HEADER = re.compile(r"^[ \t]*\[", re.M)


class NoPlainTable(Exception):
    """The route is written in another way than as one table of its own."""


class TableTexts:
    """The text of a file, cut before each header. Not for several threads."""

    def __init__(self, text: str) -> None:
        starts = [found.start() for found in _HEADER.finditer(text)]
        ends = [*starts, len(text)]
        self._parts = [text[: ends[0]], *(text[start:end] for start, end in zip(starts, ends[1:], strict=True))]
        self._places: dict[RouteKey, int | None] = {}
        for place, part in enumerate(self._parts[1:], 1):
            for key, is_plain in _header(part.split("\n", 1)[0]):
                self._places[key] = place if is_plain and key not in self._places else None

    def set(self, key: RouteKey, changes: Mapping[str, Any], *, is_new: bool) -> None:
        """Set these settings; None takes one out. Raises NoPlainTable."""
        if is_new and key not in self._places:
            self._places[key] = len(self._parts)
            document = tomlkit.parse(self._parts[-1])
            document[str(key)] = tomlkit.table()
            text = tomlkit.dumps(document)
            header = text.rindex("[")
            self._parts[-1:] = [text[:header], text[header:]]
        place = self._places.get(key)
        if place is None:
            raise NoPlainTable
        document = tomlkit.parse(self._parts[place])
        [name] = document
        table: AbstractTable = document[name]
        set_all(table, changes)
        self._parts[place] = tomlkit.dumps(document)

    def text(self) -> str:
        return "".join(self._parts)


def _header(line: str) -> Iterator[tuple[RouteKey, bool]]:
    """The route of a header, and whether the header names it alone."""
    try:
        [(name, inside)] = tomllib.loads(line).items()
        yield RouteKey.parse(name), inside == {} and isinstance(inside, dict)
    except ValueError:  # no header, or of no route
        return


def set_all(table: AbstractTable, changes: Mapping[str, Any]) -> None:
    """Set these settings of a table; None takes one out."""
    for name, value in changes.items():
        if value is None:
            table.pop(name, None)
        elif name in table:
            table[name] = _plain(value)
        else:
            _add(table, name, _plain(value))


def _plain(value: Any) -> Any:
    """10.0 as 10, the way people write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _add(table: AbstractTable, name: str, value: Any) -> None:
    """A new setting goes below the others, but above the comment that introduces the next table."""
    body = getattr(table.value, "body", [])  # a table in several places has no body of its own
    tail = []
    while body and body[-1][0] is None:
        tail.append(body.pop())
    table[name] = value
    body.extend(reversed(tail))
