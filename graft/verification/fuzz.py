"""Inputs that nobody recorded: from the converters of a rule, the names that its view reads, and recorded values.

hypothesis looks for one that both sides answer differently, and makes it as small as it can. What is drawn is the same
in each run. It needs hypothesis, which is an optional extra.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from graft.errors import GraftError
from graft.flaskside.rules import LegacyRule
from graft.operations.switch import Switch
from graft.recordings.exchange import Exchange
from graft.routing.table import Row
from graft.types import RouteKey
from graft.verification.asking import Request
from graft.verification.identity import NOBODY, Identity
from graft.verification.sides import TwoSides
from graft.verification.verify import Outcome, Verdict, check

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

PARAMETER = re.compile(r"\{(?P<name>[a-zA-Z_]\w*)(?::(?P<converter>[a-zA-Z_]\w*))?\}")
_READ = re.compile(r"""\bargs(?:\.get(?:list)?\(|\[)\s*["']([\w.\-\[\]]+)["']""")
_EDGES = (
    "",
    "0",
    "1",
    "-1",
    "007",
    "1.5",
    "1e3",
    "true",
    "null",
    "a",
    "A b",
    "ü",
    "%",
    "'",
    "<b>",
    "2026-11-28",
    "x" * 300,
)


class NoHypothesis(GraftError):
    """The extra is not installed."""


@dataclass(frozen=True)
class Space:
    """What may be asked of one rule: recorded values of each part of the path, and of each name in the query."""

    rule: LegacyRule
    paths: dict[str, list[str]] = field(default_factory=dict)
    query: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, rule: LegacyRule, exchanges: Iterable[Exchange]) -> Space:
        space = cls(rule, query={name: [] for name in names_read(rule)})
        pattern = path_pattern(rule.key.path)
        for exchange in exchanges:
            found = pattern.fullmatch(exchange.path)
            if found is None or exchange.unaskable is not None or exchange.method not in (rule.key.method, "HEAD"):
                continue
            for name, value in found.groupdict().items():
                _add(space.paths, name, value)
            for name, value in parse_qsl(exchange.target.partition("?")[2], keep_blank_values=True):
                _add(space.query, name, value)
        return space

    def targets(self) -> SearchStrategy[str] | None:
        """Paths with queries; None where a part of the path can't be made up and was never recorded."""
        from hypothesis import strategies as st

        parts: list[Any] = []
        last = 0
        for found in PARAMETER.finditer(self.rule.key.path):
            values = _values(found["converter"], self.paths.get(found["name"], []))
            if values is None:
                return None
            parts += st.just(self.rule.key.path[last : found.start()]), values
            last = found.end()
        path = st.tuples(*parts, st.just(self.rule.key.path[last:])).map("".join)
        pairs = [
            st.tuples(st.just(name), st.sampled_from([*dict.fromkeys([*known, *_EDGES])]))
            for name, known in self.query.items()
        ]
        queries = st.lists(st.one_of(pairs), max_size=min(4, len(pairs) + 1)) if pairs else st.just([])
        return st.tuples(path, queries).map(lambda both: both[0] + (f"?{urlencode(both[1])}" if both[1] else ""))


def _add(known: dict[str, list[str]], name: str, value: str) -> None:
    values = known.setdefault(name, [])
    if value not in values and len(values) < 50:
        values.append(value)


def names_read(rule: LegacyRule) -> list[str]:
    """The names that the view's source reads from ``request.args``, as far as they stand there."""
    view = rule.app.view_functions.get(rule.endpoint)
    try:
        source = inspect.getsource(inspect.unwrap(view)) if view is not None else ""
    except (OSError, TypeError):
        return []
    return list(dict.fromkeys(_READ.findall(source)))


def path_pattern(template: str) -> re.Pattern[str]:
    """What a path template takes, with a group for each parameter."""
    pattern, last = "", 0
    for found in PARAMETER.finditer(template):
        taken = ".+" if found["converter"] == "path" else "[^/]+"
        pattern += f"{re.escape(template[last : found.start()])}(?P<{found['name']}>{taken})"
        last = found.end()
    return re.compile(pattern + re.escape(template[last:]))


def _values(converter: str | None, known: list[str]) -> SearchStrategy[str] | None:
    """Of one part of a path, as it stands in a URL."""
    from hypothesis import strategies as st

    word = st.text("abzAZ019-_.~ üé%", min_size=1, max_size=12).filter(lambda text: text.strip(". ") != "").map(quote)
    made: dict[str, Any] = {
        "int": st.one_of(st.integers(0, 1000), st.integers(0, 2**64)).map(str) | st.just("007"),
        "float": st.floats(0, 1e6, allow_nan=False).map("{:.2f}".format),
        "uuid": st.uuids().map(str),
        "path": st.lists(word, min_size=1, max_size=3).map("/".join),
    }
    recorded = [st.sampled_from(known)] if known else []
    new = made.get(converter or "", word if converter in (None, "string", "str", "default") else None)
    return st.one_of([*recorded, *([new] if new is not None else [])]) if recorded or new is not None else None


async def fuzz(
    sides: TwoSides,
    exchanges: Iterable[Exchange],
    *,
    route: RouteKey | None = None,
    examples: int = 50,
    identity: Identity = NOBODY,
) -> AsyncIterator[Verdict]:
    """For each switched route that GET asks, or for ``route``: what was compared, and of what differs the smallest.

    It only reads. Raises NoHypothesis.
    """
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        raise NoHypothesis("--fuzz needs hypothesis. Install it: pip install hypothesis") from None
    exchanges = list(exchanges)
    for row in sides.table:
        if row.switched and row.key.method == "GET" and route in (None, row.key):
            for rule in row.rules:
                for verdict in await _of_rule(sides, row, Space.of(rule, exchanges), examples, identity):
                    yield verdict


async def _of_rule(sides: TwoSides, row: Row, space: Space, examples: int, identity: Identity) -> list[Verdict]:
    targets = space.targets()
    if targets is None:
        request = Request("GET", space.rule.key.path)
        note = "its converter is the app's own; record some requests first"
        return [Verdict(request, row.key, Outcome.SKIPPED, note=note)]
    loop = asyncio.get_running_loop()
    switch = sides.switches.for_route(row.key)

    def ask(target: str) -> Verdict:
        """(the thread of the search)"""
        return asyncio.run_coroutine_threadsafe(_ask(sides, row.key, switch, target, identity), loop).result()

    return await asyncio.to_thread(_search, targets, ask, examples)


async def _ask(sides: TwoSides, key: RouteKey, switch: Switch, target: str, identity: Identity) -> Verdict:
    host = key.host if key.host and "{" not in key.host else "localhost"
    request = Request("GET", target, host, identity.on(()))
    known = sides.route_of(request)
    if known is None or known[0] != key:
        return Verdict(request, key, Outcome.SKIPPED, note="another route answers it")
    return await check(sides, request, key, switch, fenced=True)


class _Differs(Exception):
    """What hypothesis looks for."""


def _search(targets: SearchStrategy[str], ask: Callable[[str], Verdict], examples: int) -> list[Verdict]:
    """All that were the same, and the smallest that was not."""
    from hypothesis import HealthCheck, Phase, Verbosity, given, settings

    asked: dict[str, Verdict] = {}
    smallest: list[Verdict] = []

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
    )
    @given(targets)
    def is_the_same(target: str) -> None:
        verdict = asked.get(target)
        if verdict is None:
            verdict = asked[target] = ask(target)
        if verdict.outcome in (Outcome.DIFFERENT, Outcome.FAILED):
            smallest[:] = [verdict]
            raise _Differs

    with suppress(_Differs):
        is_the_same()
    others = [each for each in asked.values() if each.outcome not in (Outcome.DIFFERENT, Outcome.FAILED)]
    return [*others, *smallest]
