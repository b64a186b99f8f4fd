"""Of each switched route what was compared since it stands on its rung: by that ``graft promote`` decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from graft.control.overview import figures_of, percent
from graft.figures import folders
from graft.figures.route_figures import RouteFigures
from graft.operations.baselines import Rung, rung_name
from graft.operations.state import State
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.routing.overlapping_routes import name
from graft.routing.row_figures import row_figures
from graft.routing.table import RouteTable, Row
from graft.types import RouteKey

Named = tuple[RouteKey, str | None]
"""What tells the rows of a table apart."""

REST = 10
"""What was worked out counts for so many times as long as that took: hundreds of routes take turns with requests."""

CHEAP_SECONDS = 0.02


class Rungs:
    """One for a worker. ``clock`` is in seconds."""

    def __init__(self, table: RouteTable, state: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._table, self._state, self._clock = table, state, clock
        self._kept: dict[Named, tuple[Switch, dict[str, Any]]] = {}
        self._until = 0.0

    def told(self, switches: Switches, evidence: Mapping[str, RouteFigures]) -> dict[Named, dict[str, Any]]:
        """By the names of the switched rows. A route that was changed since the last look is told anew whatever it
        costs, as its rung is another. (any thread)"""
        started, kept = self._clock(), self._kept
        fresh = started >= self._until
        figures = row_figures(self._table, evidence)
        told = {}
        for row in self._table:
            if row.switched:
                switch, named = switches.for_route(row.key), name(row)
                known = kept.get(named)
                if fresh or known is None or known[0] != switch:
                    known = switch, self._of(row, switch, figures[named])
                told[named] = known
        self._kept = told  # one object: threads that look at once each leave a whole one
        if fresh:
            took = self._clock() - started
            self._until = started + took + (REST * took if took > CHEAP_SECONDS else 0.0)
        return {named: data for named, (_, data) in told.items()}

    def of_row(self, row: Row, switches: Switches, evidence: Mapping[str, RouteFigures]) -> dict[str, Any]:
        """The same of one switched row. (any thread)"""
        return self._of(row, switches.for_route(row.key), figures_of(row, self._table, evidence))

    def _of(self, row: Row, switch: Switch, figures: RouteFigures) -> dict[str, Any]:
        rung = self._state.baselines.rung(row.key, switch, figures, folders.server_name()) or Rung()
        compared = rung.figures.compared
        different = min(rung.figures.different_on(rung_name(switch)), compared)
        others = {result: rung.figures.mirrored.get(result, 0) for result in ("failed", "skipped", "untold")}
        parity = percent(compared - different, compared)
        return {"compared": compared, "different": different, "parity": parity, **others}
