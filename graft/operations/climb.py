"""Climb: the wish that the gateway promotes a route, rung by rung. It is a part of the route's switch, so that every
change of the switch is made knowing it: whoever sets the share, holds the route or switches its mirror off ends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from graft.operations.shift import refuse_if_held
from graft.operations.state import Cause, Change, State, Transition
from graft.operations.switch import NO_CLIMB, READING_KEYS
from graft.operations.switches import Switches
from graft.types import RouteKey


def start_climb(state: State, key: RouteKey, *, by: str, why: str | None = None) -> Transition:
    """Have the gateway promote ``key`` from where it stands; nothing happens where it climbs or is native already.

    A route that reads gets its mirror with it. Raises RouteHeld where a person holds the route, SwitchesError as
    ``State.change`` does.
    """

    def decide(switches: Switches) -> Iterable[Change]:
        switch = switches.for_route(key)
        refuse_if_held(key, switch)
        settings: Mapping[str, Any] = {}
        if switch.climb is None and switch.share < 100:
            now = datetime.now(UTC).replace(microsecond=0)
            settings = {"climb": by, "climb_at": now, "climb_share": switch.share}
            if switch.mirror == 0 and switch.gates.mirror and key.method in READING_KEYS:
                settings = {**settings, "mirror": 100.0}
        yield Change(key, settings)

    return state.change(decide, Cause("climb", by, why))[0]


def stop_climb(state: State, key: RouteKey, *, by: str, why: str | None = None) -> Transition:
    """End the climb of ``key``; its share stays where it is. Nothing happens to a route that does not climb."""

    def decide(switches: Switches) -> Iterable[Change]:
        yield Change(key, NO_CLIMB if switches.for_route(key).climb is not None else {})

    return state.change(decide, Cause("stop", by, why))[0]
