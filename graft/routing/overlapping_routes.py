"""Where native routes and rules of the legacy app meet without being twins: what the route table should point out.

A native route and a rule of the same method and shape are one switched route. All other ways to meet surprise people:
a native ``/users/me`` under a rule ``/users/<name>`` answers from the first day, without a switch. They are found by
making a path that both take, and asking Starlette's and werkzeug's own matchers who answers it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile, zip_longest

from starlette.routing import Match, Mount
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from graft.flaskside.rules import LegacyRule, Overlap, shape
from graft.routing.native import NativeRoute
from graft.routing.subtrees import lies_beneath
from graft.routing.table import RouteTable, Row
from graft.types import ANY, WEBSOCKET, RouteKey, Scope

Notes = Mapping[tuple[RouteKey, str | None], tuple[str, ...]]

_SAMPLES = ("1", "x", "1.5", "00000000-0000-4000-8000-000000000001")
"""A value for every converter that both frameworks have: int, string (and path), float, uuid."""


def notes(table: RouteTable) -> Notes:
    """``{(key, legacy endpoint or None): sentences}`` for the rows that have something to point out."""
    found: defaultdict[tuple[RouteKey, str | None], list[str]] = defaultdict(list)
    sides = _Sides(table)
    for row in table:
        sentences = found[name(row)]
        if row.overlap not in (None, Overlap.SAME):
            sentences.append(f"{row.overlap[0].upper()}{row.overlap[1:]}.")
        if row.native is not None:
            sentences.extend(sides.shadowed(row, row.native))
            sentences.extend(sides.behind_a_mount(row, row.native))
            sentences.extend(sides.slashes(row))
            sentences.extend(sides.hosts(row))
        sentences.extend(sides.methods(row))
    return {row: tuple(sentences) for row, sentences in found.items() if sentences}


def name(row: Row) -> tuple[RouteKey, str | None]:
    """What tells one row from another; two rules of a Flask app may have the same key."""
    return row.key, row.legacy.endpoint if row.legacy else None


class _Sides:
    """Both sides of a table, sorted so that a few hundred routes and a few thousand rules take a moment."""

    def __init__(self, table: RouteTable) -> None:
        self._natives = table.natives
        self._rules: defaultdict[str, list[tuple[_Outline, LegacyRule]]] = defaultdict(list)
        self._without_slash: defaultdict[tuple[str, str], list[LegacyRule]] = defaultdict(list)
        self._native_methods: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._legacy_methods: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._twinned = {id(rule) for row in table if row.switched for rule in row.rules}
        for row in table:
            if row.native is not None:
                self._native_methods[_place(row.key)].add(row.key.method)
            if row.legacy is not None:
                self._legacy_methods[_place(row.key)].add(row.key.method)
            for rule in row.rules:
                self._add(rule)

    def _add(self, rule: LegacyRule) -> None:
        self._rules[rule.key.method].append((_Outline.of(rule.key.path), rule))
        self._without_slash[rule.key.method, shape(rule.key.path.rstrip("/"))].append(rule)

    def shadowed(self, row: Row, native: NativeRoute) -> Iterator[str]:
        """Paths of another rule that this native route takes as well; of an app that knows hosts it takes none."""
        template = _template(row.key)
        outline = _Outline.of(template)
        own, seen = set(map(id, row.rules)), set[str]()
        for method in list(self._rules) if row.key.method == ANY else [row.key.method]:
            for other, rule in self._rules[method]:
                if id(rule) in own or rule.host or native.host or not outline.may_meet(other):
                    continue
                path = self._shadowed_path(native, template, rule)
                if path is not None and _written(rule) not in seen:
                    seen.add(_written(rule))
                    how = "by this route's switch" if row.switched else "natively, whatever switches.toml says"
                    yield f"The Flask rule {_written(rule)} loses {path} and the like to this route: answered {how}."

    def _shadowed_path(self, native: NativeRoute, template: str, rule: LegacyRule) -> str | None:
        """A path that Flask would answer by ``rule``, and that ``native`` is the first to take."""
        method = rule.key.method
        for path in _paths_of_both(template, rule.key.path):
            if _takes(native, method, path) and _answers(rule, path):
                earlier = takewhile(lambda one: one is not native, self._natives)
                if not any(_takes(one, method, path) for one in earlier):
                    return path
        return None

    def behind_a_mount(self, row: Row, native: NativeRoute) -> Iterator[str]:
        """A mount in front of this route that takes requests of it: the first in the list answers, as in Starlette."""
        template = _template(row.key)
        for earlier in takewhile(lambda one: one is not native, self._natives):
            if not isinstance(earlier.route, Mount) or earlier.host not in ("", native.host):
                continue
            (mount,) = earlier.keys
            if lies_beneath(template, earlier.route.path):
                yield f'"{mount}" stands in front of this route and takes all its requests: list the mount behind it.'
            elif _Outline.of(_template(mount)).may_meet(_Outline.of(template)):
                path = next((p for p in _paths_of_both(_template(mount), template) if _takes(earlier, "GET", p)), None)
                if path is not None and _takes(native, "GET" if row.key.method == ANY else row.key.method, path):
                    yield f'"{mount}" stands in front of this route and takes {path} and the like of it.'

    def slashes(self, row: Row) -> Iterator[str]:
        """``/items`` beside ``/items/``: for people they are one page, for the router they are two."""
        path = row.key.path.removesuffix("/*")
        if row.key.method == ANY:
            beside = self._without_slash.get(("GET", shape(path)), ())
            if any(rule.key.path == path and rule.key.host == row.key.host for rule in beside):
                yield f"The Flask app has {path} without a slash at the end: not below the mount, it stays legacy."
            return
        for rule in self._without_slash.get((row.key.method, shape(path.rstrip("/"))), ()):
            if not row.switched and rule.key.host == row.key.host and rule.key.path.endswith("/") != path.endswith("/"):
                there = _written(rule)
                yield f"The Flask app has {there}: they differ by the slash at the end, so that rule stays legacy."

    def hosts(self, row: Row) -> Iterator[str]:
        """Rules of the same path on other hosts, if no native route twins them: they stay legacy, whatever this
        route's switch says."""
        rules = self._without_slash.get((row.key.method, shape(row.key.path.rstrip("/"))), ())
        others = sorted({rule.host for rule in rules if rule.host and id(rule) not in self._twinned})
        if others and not row.key.host:
            yield f"The Flask app has this path on {', '.join(others)} too, which stays legacy: Host(...) moves one."

    def methods(self, row: Row) -> Iterator[str]:
        """Methods that only one side has at a path of this shape."""
        here = _place(row.key)
        native, legacy = self._native_methods.get(here, ()), self._legacy_methods.get(here, ())
        if row.legacy is None and legacy:
            yield f"The Flask app has {_listed(legacy)} at this path, but not {row.key.method}."
        elif row.native is None and native:
            yield f"There is a native route at this path for {_listed(native)}, but not for {row.key.method}."


@dataclass(frozen=True, slots=True)
class _Outline:
    """The segments of a template, None where one has a parameter; a ``path`` parameter ends them and makes it open."""

    segments: tuple[str | None, ...]
    open: bool

    @classmethod
    def of(cls, path: str) -> _Outline:
        before, opened, _ = path.partition(":path}")
        segments = [None if "{" in segment else segment for segment in before.split("/")]
        return cls(tuple(segments[:-1] if opened else segments), bool(opened))

    def may_meet(self, other: _Outline) -> bool:
        """Can a path be one of both? Cheap; False is certain."""
        if len(self.segments) != len(other.segments) and not (self.open or other.open):
            return False
        pairs = zip(self.segments, other.segments, strict=False)
        return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)


def _template(key: RouteKey) -> str:
    """The path, or all paths, of a route as one template."""
    return f"{key.path[:-1]}{{rest:path}}" if key.method == ANY else key.path


def _takes(native: NativeRoute, method: str, path: str) -> bool:
    scope: Scope = {
        "type": "websocket" if method == WEBSOCKET else "http",
        "method": method,
        "path": path,
        "root_path": "",
        "headers": [],
    }
    return native.route.matches(scope)[0] is Match.FULL


def _answers(rule: LegacyRule, path: str) -> bool:
    """Is it this rule that the Flask app answers the path by?"""
    flask_map = rule.rule.map
    assert flask_map is not None
    adapter = flask_map.bind("localhost", subdomain=None if flask_map.host_matching else rule.rule.subdomain)
    try:
        found, _ = adapter.match(path.removeprefix(rule.prefix), method=rule.key.method, return_rule=True)
    except (RequestRedirect, HTTPException):
        return False
    return found is rule.rule


def _place(key: RouteKey) -> tuple[str, str]:
    return key.host, shape(key.path)


def _written(rule: LegacyRule) -> str:
    return rule.key.host + rule.prefix + rule.rule.rule


def _paths_of_both(native: str, legacy: str) -> Iterator[str]:
    """Paths that may match both templates: where one says what stands there, that; else a sample value."""
    for sample in _SAMPLES:
        yield "/".join(
            _segment(ours, theirs, sample)
            for ours, theirs in zip_longest(native.split("/"), legacy.split("/"), fillvalue="{}")
        )


def _segment(ours: str, theirs: str, sample: str) -> str:
    if "{" not in ours:
        return ours
    if "{" not in theirs:
        return theirs
    mixed = ours if len(ours.partition("{")[0] + ours.rpartition("}")[2]) else theirs
    before, after = mixed.partition("{")[0], mixed.rpartition("}")[2]
    return f"{before}{sample}{after}"


def _listed(methods: Iterable[str]) -> str:
    return ", ".join(sorted(methods))
