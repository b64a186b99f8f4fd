"""Where native routes and rules of the legacy app meet without being twins: what the route table should point out.

A native route and a rule of the same method and shape are one switched route. All other ways to meet surprise people:
a native ``/users/me`` under a rule ``/users/<name>`` answers from the first day, without a switch. They are found by
making a path that both take, and asking Starlette's and werkzeug's own matchers who answers it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile, zip_longest

from starlette.routing import Match
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from graft.legacy.rules import LegacyRule, Overlap, shape, template
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable, Row
from graft.types import RouteKey

Notes = Mapping[tuple[RouteKey, str | None], tuple[str, ...]]

_SAMPLES = ("1", "x", "1.5", "00000000-0000-4000-8000-000000000001")
"""A value for every converter that both frameworks have: int, string (and path), float, uuid."""


def notes(table: RouteTable) -> Notes:
    """``{(key, legacy endpoint or None): sentences}`` for the rows that have something to point out."""
    found: defaultdict[tuple[RouteKey, str | None], list[str]] = defaultdict(list)
    methods = _Methods(table)
    rules = [row.legacy for row in table if row.legacy is not None]
    for row in table:
        said = found[name(row)]
        if row.overlap not in (None, Overlap.SAME):
            said.append(f"{row.overlap[0].upper()}{row.overlap[1:]}.")
        if row.native is not None:
            said.extend(_shadowed(row, row.native, rules, table.natives))
            said.extend(_slashes(row, rules))
        said.extend(methods.missing(row))
    return {row: tuple(said) for row, said in found.items() if said}


def name(row: Row) -> tuple[RouteKey, str | None]:
    """What tells one row from another; two rules of a Flask app may have the same key."""
    return row.key, row.legacy.endpoint if row.legacy else None


def _shadowed(
    row: Row, native: NativeRoute, rules: Iterable[LegacyRule], natives: Iterable[NativeRoute]
) -> Iterator[str]:
    """Paths of another rule that this native route takes as well."""
    earlier = list(takewhile(lambda one: one is not native, natives))
    for rule in rules:
        if rule.key.method != row.key.method or rule is row.legacy or _apart(row.key.path, rule.key.path):
            continue
        for path in _paths_of_both(row.key.path, rule.key.path):
            if not _takes(native, row.key.method, path) or any(_takes(one, row.key.method, path) for one in earlier):
                continue
            if _answers(rule, path):
                how = "by this route's switch" if row.switched else "natively, whatever switches.toml says"
                yield f"The Flask rule {_written(rule)} loses {path} and the like to this route: answered {how}."
                break


def _slashes(row: Row, rules: Iterable[LegacyRule]) -> Iterator[str]:
    """``/items`` beside ``/items/``: for people they are one page, for the router they are two."""
    if row.switched:
        return
    for rule in rules:
        same = rule.key.method == row.key.method and shape(rule.key.path.rstrip("/")) == shape(row.key.path.rstrip("/"))
        if same and rule.key.path.endswith("/") != row.key.path.endswith("/"):
            yield f"The Flask app has {_written(rule)}: they differ by the slash at the end, so that rule stays legacy."


class _Methods:
    """Which methods each side has at a path of one shape."""

    def __init__(self, table: RouteTable) -> None:
        self._native: defaultdict[str, set[str]] = defaultdict(set)
        self._legacy: defaultdict[str, set[str]] = defaultdict(set)
        for row in table:
            sides = [self._native] if row.native is not None else []
            for side in [*sides, self._legacy] if row.legacy is not None else sides:
                side[shape(row.key.path)].add(row.key.method)

    def missing(self, row: Row) -> Iterator[str]:
        method, here = row.key.method, shape(row.key.path)
        if row.legacy is None and self._legacy[here]:
            yield f"The Flask app has {_listed(self._legacy[here])} at this path, but not {method}."
        elif row.native is None and self._native[here]:
            yield f"There is a native route at this path for {_listed(self._native[here])}, but not for {method}."


def _listed(methods: Iterable[str]) -> str:
    return ", ".join(sorted(methods))


def _takes(native: NativeRoute, method: str, path: str) -> bool:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return native.route.matches(scope)[0] is Match.FULL


def _answers(rule: LegacyRule, path: str) -> bool:
    """Is it this rule that the Flask app answers the path by?"""
    flask_map = rule.rule.map
    assert flask_map is not None
    adapter = flask_map.bind("localhost", subdomain=None if flask_map.host_matching else rule.rule.subdomain)
    try:
        found, _ = adapter.match(path.removeprefix(_prefix(rule)), method=rule.key.method, return_rule=True)
    except (RequestRedirect, HTTPException):
        return False
    return found is rule.rule


def _written(rule: LegacyRule) -> str:
    return _prefix(rule) + rule.rule.rule


def _prefix(rule: LegacyRule) -> str:
    """GRAFT_LEGACY_PREFIX, which is in the key but not in the rule."""
    return rule.key.path.removesuffix(template(rule.rule.rule))


def _apart(native: str, legacy: str) -> bool:
    """Can no path be one of both? Cheap, and right in most cases: their literal first segments differ."""
    ours, theirs = native.split("/", 2)[1], legacy.split("/", 2)[1]
    return "{" not in ours and "{" not in theirs and ours != theirs


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
