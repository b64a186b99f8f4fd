"""Trip: the share of a route goes to 0 by itself, as too many native answers failed."""

from __future__ import annotations

from datetime import UTC, datetime

from graft.operations.state import TRIP, Cause, Change, State
from graft.operations.switch import NO_CLIMB
from graft.operations.switches import Switches
from graft.types import RouteKey


def trip(state: State, key: RouteKey, reason: str) -> bool:
    """Set the share of ``key`` to 0, with the reason and the time, for all who follow ``state``.

    False, and nothing happens, where it is 0 already: another worker tripped it, or a person took it back. Raises
    SwitchesError as ``State.change`` does.
    """
    at = datetime.now(UTC).replace(microsecond=0)
    settings = {"share": 0.0, "tripped": reason, "tripped_at": at, **NO_CLIMB}

    def decide(switches: Switches) -> list[Change]:
        return [Change(key, settings)] if switches.for_route(key).share > 0 else []

    return bool(state.change(decide, Cause("trip", TRIP, reason)))
