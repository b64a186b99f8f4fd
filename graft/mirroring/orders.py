"""Orders: what the order of an array says. Is it sorted, is it like the other side's, or does it look like chance?

Pure, any thread; linear but for one sort.
"""

from __future__ import annotations

import itertools
from typing import Any

from graft.mirroring.natures import Kind, Nature
from graft.mirroring.slices import checkpoint

_IDENTITIES = ("id", "uuid", "_id", "key", "slug", "sku", "code", "name", "@id")

TELLING = 8
"""Items of which chance hardly ever makes a sorted array: twice in 40,320 times."""

_MOST = 500
"""Items that are looked at."""

_ALIKE = 0.7
"""Of two orders by chance the correlation is less: for 8 items, all but one in twenty times."""


def identified(items: list[Any]) -> dict[Any, int] | None:
    """The index of each item by what identifies it: a field that all have and no two share; None without one."""
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    for name in _IDENTITIES:
        values = [item.get(name) for item in items]
        if all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
            return {value: index for index, value in enumerate(values)}
    return None


def order_of(native: list[Any], legacy: list[Any]) -> Nature:
    """Of what kind the difference between two orders of about the same items is."""
    native, legacy = native[:_MOST], legacy[:_MOST]
    if is_sorted(legacy):
        return Nature(Kind.ORDER, meant=True)
    rows = identified(native), identified(legacy)
    here, there = (each or _by_value(items) for each, items in zip(rows, (native, legacy), strict=True))
    places = [here[key] for key in there if key in here] if here and there else []
    if len(places) < TELLING:
        return Nature(Kind.ORDER)
    if abs(_correlation(places)) >= _ALIKE:
        return Nature(Kind.ORDER, meant=True)
    return Nature(Kind.ORDER, drawn=None not in rows and not is_sorted(native))


def _by_value(items: list[Any]) -> dict[Any, int] | None:
    """The index of each item, where all are plain and different."""
    if not all(isinstance(item, str | int | float) for item in items) or len(set(items)) < len(items):
        return None
    return {item: index for index, item in enumerate(items)}


def is_sorted(items: list[Any]) -> bool:
    """Are they sorted, up or down, or by a field of theirs that says something: with as many values as half of them?"""
    if len(items) < 3:
        return False
    if not all(isinstance(item, dict) for item in items):
        return _is_sorted(items)
    return any(_is_sorted([item.get(name) for item in items]) for name in list(items[0])[:50])


def _is_sorted(values: list[Any]) -> bool:
    checkpoint()
    numbers = all(isinstance(value, int | float) for value in values)
    if not numbers and not all(isinstance(value, str) for value in values):
        return False
    if len(set(values)) * 2 < len(values):
        return False
    if not numbers:
        values = [value.casefold() for value in values]
    pairs = list(itertools.pairwise(values))
    return all(one <= other for one, other in pairs) or all(one >= other for one, other in pairs)


def _correlation(places: list[int]) -> float:
    """Spearman's, of an order with the places of its items in another one."""
    size = len(places)
    ranks = {place: rank for rank, place in enumerate(sorted(places))}
    apart = sum((ranks[place] - rank) ** 2 for rank, place in enumerate(places))
    return 1 - 6 * apart / (size * (size * size - 1))
