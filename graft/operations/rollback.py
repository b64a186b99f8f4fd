"""Rollback: the legacy side answers again, for one route or for all; with a hold, until a person releases it. No climb
goes on over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graft.operations.hold import hold_settings
from graft.operations.state import Cause, Change, State, Transition
from graft.operations.switch import NO_CLIMB
from graft.operations.switches import Switches
from graft.types import RouteKey


def rollback(state: State, key: RouteKey, *, by: str, why: str | None = None, hold: str | None = None) -> Transition:
    """Set the share of ``key`` to 0; ``hold`` is the reason to keep it there. The mirror stays as it is: it shows what
    is wrong, and no user sees it. Raises SwitchesError as ``State.change`` does."""
    return _roll_back(state, lambda _: [key], by, why, hold)[0]


def rollback_all(state: State, *, by: str, why: str | None = None, hold: str | None = None) -> tuple[Transition, ...]:
    """Roll back every route that is above 0 or climbs, as one change; with ``hold``, hold those at 0, too.

    The transitions are those of the routes that were rolled back or held. A route without an entry is dark as it is.
    """

    def keys(switches: Switches) -> Iterable[RouteKey]:
        return [
            key for key, switch in switches.items() if switch.share > 0 or switch.climb is not None or hold is not None
        ]

    return _roll_back(state, keys, by, why, hold)


def _roll_back(
    state: State, keys: Callable[[Switches], Iterable[RouteKey]], by: str, why: str | None, hold: str | None
) -> tuple[Transition, ...]:
    settings = {"share": 0.0, **NO_CLIMB, **({} if hold is None else hold_settings(hold, by))}

    def decide(switches: Switches) -> Iterable[Change]:
        return [Change(key, settings) for key in keys(switches)]

    return state.change(decide, Cause("rollback", by, why if hold is None else hold))
