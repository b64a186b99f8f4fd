"""Labels: what a text of a page is called by the cells, terms and labels around it.

``<tr><th>Password</th><td>cornflower</td></tr>``, ``<dt>`` and ``<dd>``, ``<label>`` and ``<span>``, a column and its
head, ``<b>PIN:</b> 4711``. In a tree of ``bodies`` children stand by their tag, so a label is looked for among all of
those in the same parent: rather one too many. Pure, any thread; a few steps up from the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from graft.mirroring.paths import Path

_LABELS = ("th", "dt", "label", "b", "strong", "legend", "caption", "summary", "h1", "h2", "h3", "h4", "h5", "h6")
_LONGEST = 40
_MOST = 50
"""Labels of one tag in one parent that are looked at."""


def labels_of(tree: Any, path: Path) -> Iterator[str]:
    """What the text at ``path``, which ends in ``#text``, is called: by its element, its neighbours, its column."""
    elements = _elements(tree, path)
    if not elements:
        return
    yield from _attributes(elements[-1])
    yield from _labels_in(elements[-1])  # a label inside it, with the value behind
    for element in elements[-3:-1]:
        yield from _labels_in(element)
        if isinstance(text := element.get("#text"), str) and text.endswith((":", "=")):  # Password: <code>
            yield " ".join((words := text[-_LONGEST:].rstrip(":= ").split())[-2:])
            yield words[-1] if words else ""
    for tag, index, parent in _cells(path, elements):
        if tag == "td" and index > 0:
            yield from _text_of(parent["td"][index - 1])
    yield from _heads(path, elements)


def _elements(tree: Any, path: Path) -> list[dict[str, Any]]:
    """The elements from the root to the one that has the text."""
    found: list[dict[str, Any]] = []
    for step in path[:-1]:
        if isinstance(tree, dict) and isinstance(step, str):
            tree = tree.get(str(step))
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return []
        if isinstance(tree, dict):
            found.append(tree)
    return found


def _attributes(element: dict[str, Any]) -> Iterator[str]:
    for name in ("@name", "@id", "@for", "@itemprop", "@data-label", "@aria-label"):
        if isinstance(called := element.get(name), str):
            yield called


def _labels_in(element: dict[str, Any]) -> Iterator[str]:
    for tag in _LABELS:
        for label in islice(element.get(tag, ()), _MOST):
            yield from _text_of(label)


def _text_of(label: Any) -> Iterator[str]:
    text = label.get("#text") if isinstance(label, dict) else None
    if isinstance(text, str) and 0 < len(called := text.strip().rstrip(":*").rstrip()) <= _LONGEST:
        yield called


def _cells(path: Path, elements: list[dict[str, Any]]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The cells that the text is in: tag, number and row."""
    if len(path) > 3 and len(elements) > 1 and isinstance(index := path[-2], int):
        yield str(path[-3]), index, elements[-2]


def _heads(path: Path, elements: list[dict[str, Any]]) -> Iterator[str]:
    """The heads of the column, in the first rows of what is around."""
    for tag, index, _ in _cells(path, elements):
        if tag not in ("td", "th"):
            return
        for part in elements[-5:-2]:
            for rows in (part, *part.get("thead", ())):
                for row in rows.get("tr", ())[:1]:
                    heads = row.get("th") or row.get("td") or ()
                    if index < len(heads):
                        yield from _text_of(heads[index])
