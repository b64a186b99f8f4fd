"""Shift: set the percent of a route's requests that the native side answers. It ends a climb."""

from __future__ import annotations

from collections.abc import Iterable

from graft.errors import RouteHeld
from graft.operations.state import Cause, Change, State, Transition
from graft.operations.switch import NO_CLIMB, Switch
from graft.operations.switches import Switches
from graft.types import RouteKey


def shift(
    state: State, key: RouteKey, percent: float, *, by: str, why: str | None = None, mirror: float | None = None
) -> Transition:
    """Set the share of ``key``, and its mirror if one is given; a trip is taken back.

    Raises RouteHeld when a hold is on the route and the share would go up, SwitchesError as ``State.change`` does.
    """

    def decide(switches: Switches) -> Iterable[Change]:
        switch = switches.for_route(key)
        if percent > switch.share:
            refuse_if_held(key, switch)
        settings = {"share": percent, **({} if mirror is None else {"mirror": mirror})}
        yield Change(key, {**settings, **NO_CLIMB, "tripped": None, "tripped_at": None})

    return state.change(decide, Cause("shift", by, why))[0]


def refuse_if_held(key: RouteKey, switch: Switch) -> None:
    """Raises RouteHeld with who holds ``key``, why, and how to release it."""
    if switch.hold is not None:
        who = f" by {switch.held_by}" if switch.held_by else ""
        raise RouteHeld(f'{key} is held{who}: "{switch.hold}". To let it move again: graft release "{key}"')
