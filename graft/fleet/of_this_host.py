"""The state of a fleet for a change that is to hold on this host at once."""

from __future__ import annotations

import logging

from graft.errors import FleetUnavailable
from graft.fleet.fleet_state import FleetState
from graft.operations.state import Cause, Transition
from graft.operations.state import Decision as Decide
from graft.operations.switches import Switches

log = logging.getLogger("graft.fleet")


class OfThisHost(FleetState):
    """``FleetState``, but a change holds on this host at once and goes to the fleet when that can be reached."""

    def read(self) -> Switches:
        return self.on_this_host()

    def set_broken_aside(self, *, or_empty: bool) -> str | None:
        return None  # what this host goes by is good

    def change(self, decide: Decide, cause: Cause) -> tuple[Transition, ...]:
        transitions = self.decide_here(decide, cause)
        try:
            self.send_decisions()
        except FleetUnavailable as error:
            log.info("%s", error)
        return transitions
