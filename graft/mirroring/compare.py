"""Compare: are two answers the same, and if not, where do they differ?

The status, the chosen headers, and the body by its kind: JSON by structure, HTML by its elements, attributes and text,
anything else byte by byte. JSON and HTML become the same kind of tree, so one walk, one way to write a path and one
kind of rule serve both. The walk is iterative and stops at 100 differences, so that hostile answers cost no more than
large ones. (deepdiff was measured on 200 kB of JSON: 400 ms against 10 to 30 ms, and it can't do deep ones.)
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from graft.mirroring.answers import Answer
from graft.mirroring.bodies import Kind, decoded, kind_of, trees_of_html, trees_of_json
from graft.mirroring.paths import Path, Rules, pattern, written
from graft.operations.switches import Switch

MOST = 100
"""Differences of one comparison; the walk ends there."""

_SHOWN = 200
_ABSENT = object()


class Change(StrEnum):
    CHANGED = "changed"
    MISSING = "missing"
    """the native answer lacks it"""
    EXTRA = "extra"
    """only the native answer has it"""
    LENGTH = "length"
    """arrays of different lengths"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two answers differ. Values are shortened; None is "not there"."""

    path: Path
    change: Change
    native: str | None
    legacy: str | None

    @property
    def where(self) -> str:
        return _shortened(written(self.path))

    @property
    def what(self) -> str:
        """What it has in common with others: ``body.items[*].name changed``, ``status 500 instead of 200``."""
        if self.path == ("status",):
            return f"status {self.native} instead of {self.legacy}"
        return f"{_shortened(pattern(self.path))} {self.change}"


def signature(differences: tuple[Difference, ...]) -> str:
    """What groups one comparison with others that differ in the same way."""
    return "; ".join(sorted({each.what for each in differences}))


@dataclass(frozen=True)
class Comparison:
    """How the answers of one route are compared."""

    ignored: Rules
    unordered: Rules
    headers: tuple[str, ...]
    tolerance: float

    @staticmethod
    @lru_cache(maxsize=1000)
    def of(switch: Switch) -> Comparison:
        return Comparison(Rules(switch.ignore), Rules(switch.unordered), switch.headers, switch.tolerance)


def compare(native: Answer, legacy: Answer, comparison: Comparison) -> tuple[Difference, ...]:
    """Where the two differ, at most MOST places; empty when they say the same."""
    walk = _Walk(comparison)
    if native.status != legacy.status:
        walk.found(("status",), Change.CHANGED, native.status, legacy.status)
    for name in comparison.headers:
        _compare_header(walk, name, native.header(name.encode()), legacy.header(name.encode()))
    _compare_bodies(walk, native, legacy)
    return tuple(walk.differences)


def _compare_header(walk: _Walk, name: str, native: bytes | None, legacy: bytes | None) -> None:
    if native == legacy:
        return
    here, there = (None if value is None else value.decode("latin-1") for value in (native, legacy))
    if here is None or there is None:
        change = Change.MISSING if here is None else Change.EXTRA
        walk.found(("header", name), change, _ABSENT if here is None else here, _ABSENT if there is None else there)
    elif _NORMAL.get(name, _as_it_is)(here) != _NORMAL.get(name, _as_it_is)(there) and not _same_place(
        name, here, there
    ):
        walk.found(("header", name), Change.CHANGED, here, there)


def _as_it_is(value: str) -> str:
    return value.strip()


def _without_case_and_space(value: str) -> str:
    return value.lower().replace(" ", "")


def _sorted_list(value: str) -> str:
    return ",".join(sorted(part.strip().lower() for part in value.split(",")))


_NORMAL = {
    "content-type": _without_case_and_space,
    "cache-control": _sorted_list,
    "allow": _sorted_list,
    "vary": _sorted_list,
}


def _same_place(name: str, native: str, legacy: str) -> bool:
    """``/x`` and ``http://host/x`` lead to the same place: Flask writes the one, Starlette the other."""
    if name != "location" or (_is_absolute(native) == _is_absolute(legacy)):
        return False
    return _path_of(native) == _path_of(legacy)


def _is_absolute(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _path_of(url: str) -> str:
    return "/" + url.split("/", 3)[-1] if _is_absolute(url) and url.count("/") > 2 else url


def _compare_bodies(walk: _Walk, native: Answer, legacy: Answer) -> None:
    here, there = decoded(native), decoded(legacy)
    if here == there or walk.comparison.ignored.cover(("body",)):
        return
    kind = kind_of(legacy)
    if kind is kind_of(native) and kind is not Kind.BYTES:
        try:
            trees = (trees_of_json if kind is Kind.JSON else trees_of_html)(here, there)
            if trees is not None:
                walk(("body",), *trees)
            return
        except (ValueError, RecursionError):  # it is not what it says it is
            pass
    walk.found(("body",), Change.CHANGED, _around(here, there), _around(there, here))


def _around(body: bytes, other: bytes) -> str:
    """The body from a little before the first byte that differs."""
    first = next((i for i, (a, b) in enumerate(zip(body, other, strict=False)) if a != b), min(len(body), len(other)))
    return (
        f"{len(body)} bytes, from {first}: {body[max(0, first - 20) : first + _SHOWN // 2].decode('utf-8', 'replace')}"
    )


class _Walk:
    """Goes through two trees side by side. ``differences`` fills up while it does."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.differences: list[Difference] = []

    def found(self, path: Path, change: Change, native: object, legacy: object) -> None:
        if len(self.differences) < MOST and not self.comparison.ignored.cover(path):
            self.differences.append(Difference(path, change, _shown(native), _shown(legacy)))

    def __call__(self, path: Path, native: Any, legacy: Any) -> None:
        pairs = [(path, native, legacy)]
        while pairs and len(self.differences) < MOST:
            path, native, legacy = pairs.pop()
            if isinstance(native, dict) and isinstance(legacy, dict):
                pairs.extend(reversed(self._members(path, native, legacy)))
            elif isinstance(native, list) and isinstance(legacy, list):
                pairs.extend(reversed(self._items(path, native, legacy)))
            elif not self._same(native, legacy):
                self.found(path, Change.CHANGED, native, legacy)

    def _members(self, path: Path, native: dict[str, Any], legacy: dict[str, Any]) -> list[tuple[Path, Any, Any]]:
        for name in sorted(native.keys() ^ legacy.keys()):
            if name in native:
                self.found((*path, name), Change.EXTRA, native[name], _ABSENT)
            else:
                self.found((*path, name), Change.MISSING, _ABSENT, legacy[name])
        return [((*path, name), native[name], value) for name, value in legacy.items() if name in native]

    def _items(self, path: Path, native: list[Any], legacy: list[Any]) -> list[tuple[Path, Any, Any]]:
        if self.comparison.unordered.name(path):
            native, legacy = self._rest(path, native, legacy)
        if len(native) != len(legacy):
            if not self.comparison.ignored.cover((*path, 0)):
                self.found(path, Change.LENGTH, f"{len(native)} items", f"{len(legacy)} items")
            return []
        return [((*path, index), *pair) for index, pair in enumerate(zip(native, legacy, strict=True))]

    def _rest(self, path: Path, native: list[Any], legacy: list[Any]) -> tuple[list[Any], list[Any]]:
        """The items that have no equal on the other side, in an order that brings alike ones together."""
        here = sorted((self._canonical((*path, 0), item), index) for index, item in enumerate(native))
        there = sorted((self._canonical((*path, 0), item), index) for index, item in enumerate(legacy))
        left, right = [text for text, _ in here], [text for text, _ in there]
        common = _common(left, right)
        return (
            [native[index] for text, index in here if not _taken(common[0], text)],
            [legacy[index] for text, index in there if not _taken(common[1], text)],
        )

    def _canonical(self, path: Path, item: Any) -> str:
        return json.dumps(self._without_ignored(path, item), sort_keys=True)

    def _without_ignored(self, path: Path, item: Any) -> Any:
        if self.comparison.ignored.cover(path):
            return None
        if isinstance(item, dict):
            return {name: self._without_ignored((*path, name), value) for name, value in item.items()}
        if isinstance(item, list):
            return [self._without_ignored((*path, index), value) for index, value in enumerate(item)]
        return item

    def _same(self, native: Any, legacy: Any) -> bool:
        if isinstance(native, bool) or isinstance(legacy, bool):
            return native is legacy
        if isinstance(native, int | float) and isinstance(legacy, int | float):
            return native == legacy or self._close(native, legacy)
        return type(native) is type(legacy) and bool(native == legacy)

    def _close(self, native: float, legacy: float) -> bool:
        try:
            return abs(native - legacy) <= self.comparison.tolerance or (math.isnan(native) and math.isnan(legacy))
        except OverflowError:  # an integer beyond every float
            return False


def _common(left: list[str], right: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """How often each text is on both sides: once to be used up on the left, once on the right."""
    both = Counter(left) & Counter(right)
    return dict(both), dict(both)


def _taken(left_over: dict[str, int], text: str) -> bool:
    if left_over.get(text, 0) == 0:
        return False
    left_over[text] -= 1
    return True


def _shown(value: object) -> str | None:
    if value is _ABSENT:
        return None
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    return _shortened(value if isinstance(value, str) else json.dumps(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
