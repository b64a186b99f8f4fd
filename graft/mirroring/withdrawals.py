"""Withdrawals: what was counted as different before its noise was known, and is not counted once that is.

A route's noise has to be learned, in each worker, and until then some of it is reported. Those comparisons would stand
in the count for good, and keep a gate closed for thousands of requests more. So it is remembered what each of them
differed in, in general: when the legacy side turns out to differ from itself in all of that, and as often, they are
taken back. The differences that are kept stay, for people.

Only for as long as the route's switch is the same, and under the name of its rung: what was counted on an earlier one
is not taken from this one, however late the other workers hear of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graft.mirroring.compare import Difference
from graft.mirroring.noise import Mark
from graft.operations.baselines import rung_name
from graft.operations.switch import Switch
from graft.types import RouteKey

LOOK_SECONDS = 5.0

MOST_KINDS = 100
"""So many different findings of one route are remembered, and none with more places than MOST_MARKS."""
MOST_MARKS = 50

Finding = frozenset[Mark]

Counted = tuple[RouteKey, Finding, list[tuple[Difference, float]]]


@dataclass(slots=True)
class _Route:
    switch: Switch
    counted: dict[Finding, int] = field(default_factory=dict)
    examples: dict[Mark, tuple[Difference, float]] = field(default_factory=dict)


class Withdrawals:
    """What was counted as different, by route. Used on the event loop."""

    def __init__(self) -> None:
        self._routes: dict[RouteKey, _Route] = {}
        self._look_at = 0.0

    def counted(self, key: RouteKey, switch: Switch, marked: Mapping[Mark, Difference], now: float) -> None:
        """One comparison was counted as different, under ``switch``, at the time ``now``."""
        route = self._routes.get(key)
        if route is None or route.switch != switch:
            route = self._routes[key] = _Route(switch)
        finding = frozenset(marked)
        if len(finding) > MOST_MARKS or (finding not in route.counted and len(route.counted) >= MOST_KINDS):
            return
        route.counted[finding] = route.counted.get(finding, 0) + 1
        for mark, difference in marked.items():
            route.examples[mark] = difference, now

    def forget(self, key: RouteKey) -> None:
        """The route has another switch."""
        self._routes.pop(key, None)

    def due(self, now: float) -> list[Counted]:
        """What to ask the noise about, every few seconds: of each finding an example of each of its marks."""
        if now < self._look_at or not self._routes:
            return []
        self._look_at = now + LOOK_SECONDS
        return list(self._all())

    def take_back(self, key: RouteKey, finding: Finding) -> tuple[int, str]:
        """So many comparisons were counted for it, and are not any more; and the name of the rung that they were
        counted on."""
        route = self._routes.get(key)
        return (route.counted.pop(finding, 0), rung_name(route.switch)) if route is not None else (0, "")

    def _all(self) -> Iterator[Counted]:
        for key, route in self._routes.items():
            for finding in route.counted:
                yield key, finding, [route.examples[mark] for mark in finding]
