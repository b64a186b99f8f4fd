"""Lines: where in a TOML text something stands. Only asked for when there is an error to report."""

from __future__ import annotations

from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item, Table

LARGE = 32 * 1024
"""From this length on tomlkit would take seconds; then a line that looks like the place is good enough."""

_MARK = "\x1fhere\x1f"


def line_of(text: str, place: tuple[str, ...]) -> int | None:
    """The line (from 1) of the setting at ``place`` (table, setting), else of its table; None when it can't be told.

    tomlkit keeps every byte of a text but no positions, so a mark is put beside the item and looked for.
    """
    if len(text) > LARGE:
        return _first_look(text, place)
    for depth in range(len(place), 0, -1):
        line = _line(text, place[:depth])
        if line is not None:
            return line
    return None


def _first_look(text: str, place: tuple[str, ...]) -> int | None:
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines, 1) if line.lstrip().startswith("[") and place[0] in line]
    for number in range(starts[-1], len(lines)) if starts and len(place) > 1 else ():
        if lines[number].lstrip().startswith("["):
            break
        if lines[number].lstrip(" \t\"'").startswith(place[1]):
            return number + 1
    return starts[-1] if starts else None


def _line(text: str, place: tuple[str, ...]) -> int | None:
    try:
        document = tomlkit.parse(text)
        item = _item(document, place)
        item.comment(_MARK)
        marked = tomlkit.dumps(document)
    except (TOMLKitError, KeyError, AttributeError, TypeError, ValueError):
        return None
    before, found, _ = marked.partition(_MARK)
    return before.count("\n") + 1 - _lines_inside(item) if found else None


def _item(document: Any, place: tuple[str, ...]) -> Item:
    for name in place[:-1]:
        document = document[name]
    found: Item = document.item(place[-1]) if hasattr(document, "item") else document.value.item(place[-1])
    return found


def _lines_inside(item: Item) -> int:
    """A comment stands behind a value, so at its last line; but at the first line of a table."""
    return 0 if isinstance(item, Table) else item.as_string().count("\n")
