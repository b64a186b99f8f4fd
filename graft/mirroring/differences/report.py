"""What is kept, grouped, for ``graft differences``, the API and the dashboard."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from graft.mirroring.differences.store import DifferenceStore
from graft.mirroring.noise import UNTOLD
from graft.types import RouteKey


@dataclass
class Group:
    """What differs in the same way, on one route. ``newest`` first."""

    route: RouteKey
    what: str
    newest: list[dict[str, Any]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.newest)


@dataclass(frozen=True)
class Report:
    """``groups``: the most frequent first. ``noise``: what was learned to be noise, by route; ``untold``: of which it
    can't be told, as users never repeat a request."""

    groups: list[Group]
    noise: dict[RouteKey, list[str]]
    untold: dict[RouteKey, list[str]] = field(default_factory=dict)

    def as_data(self, last: int) -> dict[str, Any]:
        """What ``graft differences --json`` and ``/_graft/api/differences`` say: ``last`` examples of each group."""
        return {
            "differences": [
                {"route": str(group.route), "what": group.what, "count": group.count, "newest": group.newest[:last]}
                for group in self.groups
            ],
            "noise": {str(key): learned for key, learned in self.noise.items()},
            "untold": {str(key): places for key, places in self.untold.items()},
        }


async def read_report(store: DifferenceStore, route: RouteKey | None = None) -> Report:
    """What differs, of one route or of all. Raises DifferencesError when the store can't be read."""
    differences, learned = await asyncio.gather(store.newest(route), store.noise(route))
    groups: dict[tuple[RouteKey, str], Group] = {}
    reported: dict[tuple[RouteKey, str], str] = {}  # when something was reported last at a place
    for one in differences:
        for place in _places(one.what):
            reported.setdefault((one.route, place), one.at)
        groups.setdefault((one.route, one.what), Group(one.route, one.what)).newest.append(one.detail)
    noise: dict[RouteKey, list[str]] = {}
    untold: dict[RouteKey, list[str]] = {}
    for each in sorted(learned, key=lambda each: each.what):
        place = each.what.removesuffix(UNTOLD)
        if reported.get((each.route, place.rpartition(" ")[0]), "") > each.at:
            continue  # what was taken for noise there is none by what is known now
        if place == each.what:
            noise.setdefault(each.route, []).append(place)
        elif place not in noise.get(each.route, []):  # it could be told later
            untold.setdefault(each.route, []).append(place)
    return Report(sorted(groups.values(), key=lambda group: -group.count), noise, untold)


def _places(what: str) -> list[str]:
    """``body.took`` and ``body.items[*].id`` of ``body.items[*].id changed; body.took changed``."""
    return [each.rpartition(" ")[0] for each in what.split("; ")]
