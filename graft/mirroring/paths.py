"""Paths: where in an answer something is, as in ``body.items[3].name``, and rules about such places."""

from __future__ import annotations

import re
from collections.abc import Iterable

Step = str | int
Path = tuple[Step, ...]
"""The steps into an answer: ``("body", "items", 3, "name")``."""

_SPECIAL = re.compile(r'[.\[\]"]')
_STEP = re.compile(r'\.?(?P<name>[^.\[\]"]+)|\[(?P<index>\d+|\*)\]|\.?\["(?P<quoted>(?:[^"\\]|\\.)*)"\]')


def written(path: Path) -> str:
    """``body.items[3].name``; a key with a dot or a bracket is quoted: ``body["a.b"]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else _name(step) for step in path).removeprefix(".")


def pattern(path: Path) -> str:
    """The path with every index as ``[*]``: what the items of an array have in common."""
    return "".join("[*]" if isinstance(step, int) else _name(step) for step in path).removeprefix(".")


def _name(step: str) -> str:
    if step and not _SPECIAL.search(step):
        return f".{step}"
    escaped = step.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


class Rules:
    """Paths to match others against. ``[*]`` is any index."""

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
        else:
            steps.append(match["name"].lower() if steps == ["header"] else match["name"])
    return tuple(steps)
