"""The figures of each row of the route table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graft.figures.route_figures import RouteFigures
from graft.routing.overlapping_routes import name
from graft.routing.table import Row
from graft.types import RouteKey


def row_figures(
    rows: Iterable[Row], statistics: Mapping[str, RouteFigures]
) -> dict[tuple[RouteKey, str | None], RouteFigures]:
    """``{name(row): figures}`` from what ``graft.figures.reader.read`` gives.

    A switched route is counted under its native name, and under the rule's own where the rule got a request that the
    native route does not take; what was counted once belongs to one row, that of a subtree has what its rules have.
    """
    taken: set[str] = set()
    figures: dict[tuple[RouteKey, str | None], RouteFigures] = {}
    for row in rows:
        names = [str(row.key), *(str(rule.key) for rule in row.rules)]
        mine = [one for one in dict.fromkeys(names) if one in statistics and one not in taken]
        taken.update(mine)
        figures.setdefault(name(row), sum((statistics[one] for one in mine), RouteFigures()))
    return figures
