"""The rungs of a fleet's routes: each server notes by itself what it had counted when a route came to its rung, and
tells what came since; that adds up, whoever starts, ends or climbs meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from graft.errors import FleetUnavailable
from graft.figures.route_figures import RouteFigures, total
from graft.fleet.server_document import Evidence
from graft.fleet.servers import Servers
from graft.operations.baselines import Baselines, Rung
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.types import RouteKey

KnownSwitches = Callable[[], tuple[Mapping[str, int], Switches] | None]
"""The revisions of the routes, and the switches that they are of."""


class FleetBaselines(Baselines):
    """``own`` gives the rung of this host's server alone; the methods of ``Baselines`` give the fleet's."""

    def __init__(
        self, path: Path, servers: Servers, known: KnownSwitches, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(path, clock)
        self._servers = servers
        self._known_switches = known

    def own(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung | None:
        return super().rung(key, switch, now, server)

    def rung(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung | None:
        own = self.own(key, switch, now, server)
        return self._together(key, switch, own, now.build) if own is not None else None

    def begin(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung:
        own = self.own(key, switch, now, server)
        if own is None:
            self._write([(key, switch, now)], server)
        return self._together(key, switch, own or Rung(), now.build)

    def _together(self, key: RouteKey, switch: Switch, own: Rung, build: str) -> Rung:
        """While servers run several builds of a route, it stands on what the least is known of: the new one."""
        known = self._known_switches()
        if known is None or known[1].for_route(key) != switch:
            return Rung()  # it is being changed: of what others tell, nobody knows which rung it is of
        revision = known[0].get(str(key), 0)
        try:
            others = self._servers.others("climbing" if switch.climb is not None else "rungs")
        except FleetUnavailable:
            return own
        found = [(each, each.evidence[key]) for each in others if key in each.evidence]
        of_rung = [(server, each) for server, each in found if each.revision == revision]
        living = [each for server, each in of_rung if self._servers.lives(server)]
        figures: dict[str, list[RouteFigures]] = {build: [own.figures]}
        for _, each in of_rung:
            figures.setdefault(each.figures.build, []).append(each.figures)
        sums = {name: total(parts) for name, parts in figures.items()}
        builds = {build, *(each.figures.build for each in living)}
        least = min(sorted(builds), key=lambda name: sums[name].compared)
        return Rung(sums[least], max(_seconds(own, build, living, least)))


def _seconds(own: Rung, build: str, living: list[Evidence], least: str) -> list[float]:
    mine = [own.seconds] if build == least else []
    return [*mine, *(each.seconds for each in living if each.figures.build == least)]
