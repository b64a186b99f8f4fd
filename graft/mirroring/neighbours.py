"""Neighbours: what stands beside a value in JSON says of it what its own name and shape do not.

``{"name": "password", "value": "cornflower"}`` is how forms, settings and lists of headers look: the value's name is
its neighbour's value. In a page it is the label beside it (``labels``). And where the same field of other rows, or of
the other side's answer, holds tokens, a value that has no letter among its digits by chance is one, too. Pure, any
thread.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from graft.mirroring.bodies import tree_of_html
from graft.mirroring.labels import labels_of
from graft.mirroring.paths import Path
from graft.mirroring.secret_shapes import is_key
from graft.mirroring.slices import checkpoint

MOST_FIELDS = 2000
"""Fields of JSON that are looked at."""

NAMES = ("name", "key", "field", "header", "param", "parameter", "property", "setting", "attribute", "variable", "id")
"""Fields that hold the name of what stands beside them."""

VALUES = frozenset(
    {"value", "values", "val", "content", "default", "current", "data", "raw"}
    | {"old_value", "new_value", "oldvalue", "newvalue", "raw_value"}
)
"""Fields that hold what is called as their neighbour says."""

_TOKEN = re.compile(r"[\w+/=~-]{6,}")


def name_beside(fields: dict[str, Any], name: str) -> str | None:
    """What the field ``name`` of an object is called by its neighbour, if it is: ``password``."""
    if name.lower() not in VALUES:
        return None
    for each in NAMES:
        called = fields.get(each)
        if isinstance(called, str) and 0 < len(called) <= 100:
            return called
    return None


class Neighbours:
    """Of the values in some bodies of JSON that are alike: both sides' answers to one request."""

    def __init__(self, *trees: Any) -> None:
        self._trees = trees
        self._tokens: frozenset[tuple[str, ...]] | None = None

    @staticmethod
    def of(*bodies: bytes) -> Neighbours:
        """Those that are JSON, or a page."""
        trees = []
        for body in bodies:
            start = body[:1]
            if start in (b"{", b"[", b"<"):
                try:
                    trees.append(tree_of_html(body) if start == b"<" else json.loads(body))
                except (ValueError, RecursionError):
                    continue
        return Neighbours(*trees)

    def are_tokens(self, names: tuple[str, ...]) -> bool:
        """Does the place under these names, whatever the row, hold tokens?"""
        if self._tokens is None:
            tokens, texts = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
            for place, value in self._texts():
                texts[place] += 1
                tokens[place] += is_key(value)
            self._tokens = frozenset(place for place, number in tokens.items() if 2 * number >= texts[place])
        return names in self._tokens

    def names_of(self, path: Path) -> Iterator[str]:
        """What the value at ``path`` is called by its neighbour, on the one side and on the other: in another order of
        rows they are two."""
        for tree in self._trees:
            parent = _at(tree, path[1:-1])
            if isinstance(parent, list):
                if len(parent) == 2 and path[-1] == 1 and isinstance(parent[0], str):
                    yield parent[0]  # a header, or a field of a form, as a pair
            elif isinstance(parent, dict):
                called = name_beside(parent, str(path[-1]))
                if called is not None:
                    yield called
                elif path[-1] == "#text":
                    yield from labels_of(tree, path[1:])

    def _texts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Texts without spaces and where they are, level by level, of each tree as many."""
        for tree in self._trees:
            level: list[tuple[tuple[str, ...], Any]] = [((), tree)]
            left = MOST_FIELDS
            while level and left > 0:
                below: list[tuple[tuple[str, ...], Any]] = []
                for place, value in level:
                    checkpoint()
                    left -= 1
                    if left <= 0:
                        break
                    if isinstance(value, dict):
                        below += [((*place, name), item) for name, item in value.items()]
                    elif isinstance(value, list):
                        below += [(place, item) for item in value[:left]]
                    elif may_be_token(value):
                        yield place, value
                level = below


def may_be_token(value: Any) -> bool:
    """Is it a text that may be a token where others are? Words are none."""
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        return False
    return not (value.isalpha() and value[1:].islower())


def _at(tree: Any, path: Path) -> Any:
    for step in path:
        if isinstance(tree, dict) and isinstance(step, str):
            tree = tree.get(str(step))
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree
