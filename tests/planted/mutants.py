"""Mutants: one bug each, planted into a native answer, always or under a condition."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from graft.operations.switch import COMPARED_HEADERS
from tests.planted.recorded import RecordedShape
from tests.planted.shapes import ITEMS, START, USERS, WEIGHTS, Reply, Request, Side
from tests.planted.sites import SHAPES

Path = tuple[str | int, ...]
Edit = Callable[[Reply, Request], None]

STALE = "=aZ38dKq0vX91LmQpaZ38dKq0vX91LmQp"
"""A token that somebody got once."""

LEAST = 0.0125
"""Of the answers: what changes more seldom is not planted."""

CONDITIONS: dict[str, Callable[[Request], bool]] = {
    "always": lambda request: True,
    "some users": lambda request: request.user == 3,
    "some times": lambda request: request.now % 60 < 3,
    "one row": lambda request: request.item == 7,
    "1 in 50": lambda request: random.Random(request.number).random() < 0.02,
}


@dataclass(frozen=True)
class Mutant:
    shape: str
    kind: str
    where: str
    condition: str
    edit: Edit

    def __str__(self) -> str:
        return f"{self.shape}: {self.kind} at {self.where}, {self.condition}"

    def apply(self, reply: Reply, request: Request) -> Reply:
        if not CONDITIONS[self.condition](request):
            return reply
        changed = copy.deepcopy(reply)
        with suppress(LookupError, TypeError, AttributeError):  # there is no such place in this answer
            self.edit(changed, request)
        return changed


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every place of a body, the first three items of each array."""
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for index, item in list(enumerate(value))[:3]:
            yield from leaves(item, (*path, index))


def at(body: Any, path: Path) -> Any:
    """What is there now: an object with keys that are data is followed by position."""
    for step in path:
        if isinstance(body, dict) and step not in body:
            step = next(iter(body))
        body = body[step]
    return body


def set_at(reply: Reply, path: Path, make: Callable[[Any], Any]) -> None:
    parent = at(reply.body, path[:-1])
    step = path[-1]
    if isinstance(parent, dict) and step not in parent:
        step = next(iter(parent))
    if parent[step] is not None:  # there is nothing to get wrong for this item
        parent[step] = make(parent[step])


def delete_at(reply: Reply, path: Path) -> None:
    parent = at(reply.body, path[:-1])
    parent.pop(path[-1] if not isinstance(parent, dict) or path[-1] in parent else next(iter(parent)))


_ISO = re.compile(r"\d{4}-\d\d-\d\dT.*")


def _later(text: str) -> str:
    return (datetime.fromisoformat(text) + timedelta(hours=1)).isoformat(timespec="milliseconds")


def edits(value: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """The kinds of bug that a value can have."""
    if isinstance(value, bool):
        yield "value", lambda value: not value
        yield "type", int
    elif isinstance(value, int):
        yield "off by one", lambda value: value + 1
        yield "value", lambda value: value * 100 + 100_003
        yield "type", str
    elif isinstance(value, float):
        yield "precision", lambda value: round(value, 1)
        yield "value", lambda value: value * 1.1 + 5
        yield "type", str
    elif isinstance(value, str) and _ISO.fullmatch(value):
        yield "time zone", _later
        yield "encoding", lambda value: value.replace("+00:00", "Z")
        yield "precision", lambda value: value[:19] + value[23:]
    elif isinstance(value, str) and re.fullmatch(r"\d+\.\d\d", value):
        yield "precision", lambda value: value[:-1]
        yield "type", float
        yield "value", lambda value: f"{float(value) * 1.19 + 1:.2f}"
    elif isinstance(value, str) and value:
        yield "value", lambda value: "wrong " + value[::-1]
        yield "encoding", lambda value: value.replace(value[len(value) // 2], "Ã¤")
        yield "null", lambda value: None
    elif isinstance(value, list) and len(value) > 2:
        yield "page size", lambda value: value[:-1]
        yield "order", lambda value: [value[1], value[0], *value[2:]]
        yield "extra", lambda value: [*value, value[0]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield "null", lambda value: None


def json_mutants(name: str) -> Iterator[tuple[str, str, Edit]]:
    """Kind, place and edit. Places that move by themselves only get bugs that are no such move: a number that is one
    too high now and then, where it moves by one now and then, can't be told by anybody who looks at answers alone."""
    here = SHAPES[name](Request(1, 7, 3, START), Side("a"))
    there = SHAPES[name](Request(900, 7, 3, START + 65), Side("b"))
    for path, value in leaves(here.body):
        if not path:
            continue
        where = ".".join(map(str, path))
        try:
            volatile = at(there.body, path) != value
        except (KeyError, IndexError):
            volatile = True
        for kind, make in edits(value):
            if volatile and kind not in ("null", "type", "time zone"):
                continue
            if not _changes(value, make):
                continue
            yield kind, where, lambda reply, _, path=path, make=make: set_at(reply, path, make)
        if isinstance(path[-1], str):
            yield "missing", where, lambda reply, _, path=path: delete_at(reply, path)
        if isinstance(value, dict):
            yield "extra", where, lambda reply, _, path=path: at(reply.body, path).update(added=True)


def _changes(value: Any, make: Callable[[Any], Any]) -> bool:
    return json.dumps(make(value)) != json.dumps(value) and not (isinstance(value, float) and value == make(value))


def html_mutants() -> Iterator[tuple[str, str, Edit]]:
    """Kind, place and edit of a page as text."""
    replacements = [
        ("value", "heading", r"<(h[1-4][^>]*)>\s*\w+", r"<\1>Wrong"),
        ("value", "link", r"href=(['\"])/(?!static)(\w+)", r"href=\1/wrong/\2"),
        ("value", "cell", r"<td([^>]*)>\w+</td>", r"<td\1>wrong</td>"),
        ("value", "class", r"class=(['\"])(\w+)", r"class=\1wrong-\2"),
        ("value", "label", r"<label([^>]*)>\s*\w+", r"<label\1>Wrong"),
        ("value", "title", r"<title>\s*\w+", "<title>Wrong"),
        ("missing", "row", r"<tr.*?</tr>", ""),
        ("missing", "hidden field", r"<input type=['\"]hidden['\"][^>]*>", ""),
        ("missing", "item of a list", r"<li\b.*?</li>", ""),
        ("missing", "script", r"<script\b.*?</script>", ""),
        ("missing", "attribute", r" checked| selected", ""),
        ("missing", "form or list", r"<(form|select)(.*?)</\1>", ""),
        ("extra", "element", r"</body>", "<p>added</p></body>"),
        ("extra", "attribute", r"<(table|h1|form)", r"<\1 hidden"),
        ("extra", "row", r"(<(tr|li)\b(?:(?!<\2\b).)*?</\2>)", r"\1\1"),
        ("encoding", "double escape", r"<td>", "<td>&amp;amp;"),
        ("encoding", "white space", r"  (line two|of )", r" \1"),
        ("encoding", "mojibake", r"(</td>|</h1>)", r"Ã¤\1"),
        ("encoding", "escape of an attribute", r"(href=['\"][^'\"]*[?&;])(\w+=)", r"\1amp;amp;\2"),
        ("order", "items of a list", r"(<li\b(?:(?!<li).)*?</li>)(\s*)(<li\b(?:(?!<li).)*?</li>)", r"\3\2\1"),
        ("order", "cells", r"(<td[^>]*>[^<]*</td>)(<td[^>]*>.*?</td>)", r"\2\1"),
        ("off by one", "number", r"(line two \d|total  \d)", r"\g<1>1"),
        ("precision", "time", r"(\d\d:\d\d:\d\d)\.\d\d\d", r"\1"),
        ("time zone", "time", r"T\d\d:", "T23:"),
        ("page size", "rows", r"(<tr(?:(?!<tr).)*</tr>)(?=</t)", ""),
        ("type", "title", r"<(title|p class='count')>.*?</", r"<\1>None</"),
        ("null", "attribute", r"(action|value)=(['\"])[^'\"]+['\"]", r"\1=\2\2"),
        ("null", "text", r"(<(?:p|span|td|a|option)\b[^>]*>)\s*\w[^<]*<", r"\1None<"),
    ]
    for kind, where, pattern, by in replacements:
        yield kind, where, lambda reply, _, pattern=pattern, by=by: _replace(reply, pattern, by)


def _replace(reply: Reply, pattern: str, by: str) -> None:
    reply.body = re.sub(pattern, by, reply.body, count=1, flags=re.DOTALL)


def _headers(reply: Reply, **changes: str | None) -> None:
    for name, value in changes.items():
        if value is None:
            reply.headers.pop(name.replace("_", "-"), None)
        else:
            reply.headers[name.replace("_", "-")] = value


def answer_mutants(name: str) -> Iterator[tuple[str, str, Edit]]:
    """Of the answer as a whole."""
    reply = SHAPES[name](Request(1, 7, 3, START), Side("a"))
    for status in (404, 201, 500):
        yield "status", str(status), lambda reply, _, status=status: setattr(reply, "status", status)
    yield "header", "content-type", lambda reply, _: _headers(reply, content_type="text/plain")
    yield "header", "cache-control", lambda reply, _: _headers(reply, cache_control="public, max-age=86400")
    yield "header", "cors", lambda reply, _: _headers(reply, access_control_allow_origin="*")
    for header in reply.headers:
        if header != "content-type" and header in COMPARED_HEADERS:
            yield "header", f"no {header}", lambda reply, _, header=header: _headers(reply, **{header: None})
    yield "cookie", "extra", lambda reply, _: reply.cookies.append("debug=1; Path=/")
    if reply.cookies:
        yield "cookie", "missing", lambda reply, _: reply.cookies.clear()
        yield "cookie", "attribute", lambda reply, _: _cookie(reply, lambda text: text + "; Domain=example.org")
        yield "cookie", "path", lambda reply, _: _cookie(reply, lambda text: text.replace("Path=/", "Path=/other"))
        yield (
            "cookie",
            "stale",
            lambda reply, _: _cookie(reply, lambda text: re.sub("=[^;]+", "=aZ38dKq0vX91LmQp" * 2, text, count=1)),
        )
    yield (
        "type",
        "body",
        lambda reply, _: setattr(reply, "body", [reply.body] if not isinstance(reply.body, str) else ""),
    )


def _cookie(reply: Reply, change: Callable[[str], str]) -> None:
    reply.cookies[0] = change(reply.cookies[0])


def mutants(seed: int, count: int) -> list[Mutant]:
    """So many, spread over the shapes, the kinds and the conditions; the same for the same seed."""
    chance = random.Random(seed)
    found: dict[tuple[str, str], list[Mutant]] = {}
    for name in SHAPES:
        bodies = html_mutants() if "HTML" in name else json_mutants(name)
        for kind, where, edit in (*bodies, *answer_mutants(name)):
            condition = chance.choice(["always", "always", *CONDITIONS])
            if _share(name, edit, condition) < LEAST:
                continue
            found.setdefault((name, kind), []).append(Mutant(name, kind, where, condition, edit))
    for group in found.values():
        chance.shuffle(group)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(found.values()):
        for group in found.values():
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen


def _share(name: str, edit: Edit, condition: str) -> float:
    """Of how many answers does it change something?"""
    shape, side = SHAPES[name], Side("a")
    mutant = Mutant(name, "", "", "always", edit)
    seven = Request(1, 7, 3, START)
    changed = {}
    for item in range(ITEMS):
        page = item % len(shape.answers) if isinstance(shape, RecordedShape) else 0
        if page not in changed:
            request = Request(1, item, 3, START) if isinstance(shape, RecordedShape) else seven
            before = shape(request, side)
            changed[page] = mutant.apply(before, request) != before
    pages = [changed[item % len(changed)] for item in range(ITEMS)]
    if condition == "one row":
        return WEIGHTS[7] / sum(WEIGHTS) if pages[7] else 0.0
    often = {"always": 1.0, "some users": 1 / USERS, "some times": 0.05, "1 in 50": 0.02}[condition]
    return often * sum(weight for weight, is_changed in zip(WEIGHTS, pages, strict=True) if is_changed) / sum(WEIGHTS)
