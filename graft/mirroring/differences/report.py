"""What is kept, grouped, for ``graft differences``, the API and the dashboard."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from graft.mirroring.differences.store import DifferenceStore
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
    """``groups``: the most frequent first. ``noise``: what was learned to be noise, by route."""

    groups: list[Group]
    noise: dict[RouteKey, list[str]]

    def as_data(self, last: int) -> dict[str, Any]:
        """What ``graft differences --json`` and ``/_graft/api/differences`` say: ``last`` examples of each group."""
        return {
            "differences": [
                {"route": str(group.route), "what": group.what, "count": group.count, "newest": group.newest[:last]}
                for group in self.groups
            ],
            "noise": {str(key): learned for key, learned in self.noise.items()},
        }


async def read_report(store: DifferenceStore, route: RouteKey | None = None) -> Report:
    """What differs, of one route or of all. Raises DifferencesError when the store can't be read."""
    differences, learned = await asyncio.gather(store.newest(route), store.noise(route))
    groups: dict[tuple[RouteKey, str], Group] = {}
    for one in differences:
        groups.setdefault((one.route, one.what), Group(one.route, one.what)).newest.append(one.detail)
    noise: dict[RouteKey, list[str]] = {}
    for each in learned:
        noise.setdefault(each.route, []).append(each.what)
    return Report(
        sorted(groups.values(), key=lambda group: -group.count), {key: sorted(names) for key, names in noise.items()}
    )
