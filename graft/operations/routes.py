"""The routes that an operation may name: the switched ones of this app."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from graft.errors import NotSwitched, UnknownRoute
from graft.types import RouteKey

if TYPE_CHECKING:
    from graft.routing.table import RouteTable, Row


def find_row(table: RouteTable, key: RouteKey) -> Row:
    """The row of ``key``, which may also be the name of the Flask rule. Raises UnknownRoute with the nearest name."""
    row = table.get(key) or next((row for row in table if row.legacy and row.legacy.key == key), None)
    if row is None:
        subtree = next((row for row in table if any(rule.key == key for rule in row.beneath)), None)
        if subtree is not None:  # not for the asking: it would move all the others, too
            raise UnknownRoute(f'"{key}" is part of "{subtree.key}", which has one switch for all of it.')
        raise UnknownRoute(f'There is no route "{str(key)[:200]}".{suggestion(key, (each.key for each in table))}')
    return row


def switched_row(table: RouteTable, key: RouteKey) -> Row:
    """The same for a switched route. Raises NotSwitched for one that only one side has."""
    row = find_row(table, key)
    if not row.switched:
        only = "native side has it: there is nothing to go back to" if row.native else "Flask app has it"
        raise NotSwitched(f"{row.key} is not switched: only the {only}.")
    return row


def suggestion(key: RouteKey, known: Iterable[RouteKey]) -> str:
    """ " Did you mean ...?" with the nearest of ``known``, of the same method first; empty if none is near."""
    names = {str(each): each for each in known}
    close = difflib.get_close_matches(str(key), names, 5, 0.7)
    close.sort(key=lambda name: names[name].method != key.method)
    return f' Did you mean "{close[0]}"?' if close else ""
