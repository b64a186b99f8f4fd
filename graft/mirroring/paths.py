"""Paths: where in an answer something is, as in ``body.items[3].name``, and rules about such places."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

Step = str | int
Path = tuple[Step, ...]
"""The steps into an answer: ``("body", "items", 3, "name")``."""


class DataKey(str):
    """A key of an object that is data and no field's name: an id, a date, a person. Such an object is a table."""

    __slots__ = ()


_SPECIAL = re.compile(r'[.\[\]"*]')
_STEP = re.compile(r'\.?(?P<name>[^.\[\]"]+)|\[(?P<index>\d+|\*)\]|\.?\["(?P<quoted>(?:[^"\\]|\\.)*)"\]')


def written(path: Path) -> str:
    """``body.items[3].name``; a key with a dot or a bracket is quoted: ``body["a.b"]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else _name(step) for step in path).removeprefix(".")


def pattern(path: Path) -> str:
    """The path with every index as ``[*]`` and every key that is data as ``.*``: what the items have in common."""
    return "".join(map(_general, path)).removeprefix(".")


def _general(step: Step) -> str:
    if isinstance(step, int):
        return "[*]"
    return ".*" if isinstance(step, DataKey) else _name(step)


_FIELD = re.compile(r"[@#$]?[^\W\d](?:[^\W\d]|-)*+\d{0,2}")
_A_TABLE = 64


@lru_cache(maxsize=4096)
def _is_data(key: str) -> bool:
    return _FIELD.fullmatch(key) is None


def is_table(native: dict[str, Any], legacy: dict[str, Any]) -> bool:
    """Are the keys of these objects data? They are when there are very many, when most of them are no names (but ids,
    dates, addresses), or when all of three or more members are objects with the same fields."""
    keys = native.keys() | legacy.keys()
    if len(keys) > _A_TABLE:
        return True
    if sum(map(_is_data, keys)) * 2 > len(keys):
        return True
    members = list(legacy.values())
    if len(members) < 3 or not all(isinstance(member, dict) and member for member in members):
        return False
    first = members[0].keys()
    return all(member.keys() == first for member in members)


def _name(step: str) -> str:
    if step and not _SPECIAL.search(step):
        return f".{step}"
    escaped = step.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


_ANY_KEY = DataKey("*")


class Rules:
    """Paths to match others against. ``[*]`` is any index, ``.*`` any key."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = tuple(_steps(rule) for rule in rules)

    def cover(self, path: Path) -> bool:
        """Does a rule hold at ``path``, because it names it or something above it?"""
        return any(len(rule) <= len(path) and _alike(rule, path) for rule in self._rules)

    def name(self, path: Path) -> bool:
        """Does a rule name exactly ``path``?"""
        return any(len(rule) == len(path) and _alike(rule, path) for rule in self._rules)


def _alike(rule: tuple[Step | None, ...], path: Path) -> bool:
    for wanted, step in zip(rule, path, strict=False):
        if wanted is None:
            if not isinstance(step, int):
                return False
        elif wanted is _ANY_KEY:
            if not isinstance(step, str):
                return False
        elif wanted != step:
            return False
    return True


def _steps(rule: str) -> tuple[Step | None, ...]:
    steps: list[Step | None] = []
    for match in _STEP.finditer(rule):
        if match["index"] is not None:
            steps.append(None if match["index"] == "*" else int(match["index"]))
        elif match["quoted"] is not None:
            steps.append(re.sub(r"\\(.)", r"\1", match["quoted"]))
        elif match["name"] == "*":
            steps.append(_ANY_KEY)
        else:
            steps.append(match["name"].lower() if steps == ["header"] else match["name"])
    return tuple(steps)
