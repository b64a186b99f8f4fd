"""Alike: up to where two texts, or two bodies, are the same. Pure, any thread."""

from __future__ import annotations

from typing import AnyStr

_STEPS = (4096, 64, 1)
"""Large parts are compared as a whole first: item by item, a body of 250 KB takes 12 ms, in which nobody else runs."""


def alike_until(one: AnyStr, other: AnyStr) -> int:
    """The index of the first character, or byte, in which they differ: the length of the shorter one if in none."""
    most, start = min(len(one), len(other)), 0
    for step in _STEPS:
        while start < most and one[start : min(start + step, most)] == other[start : min(start + step, most)]:
            start = min(start + step, most)
    return start
