"""Mirror: set the percent of a route's requests that also run on the other side, and are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft.operations.state import Cause, Change, State, Transition
from graft.operations.switch import NO_CLIMB
from graft.types import RouteKey


def mirror(state: State, key: RouteKey, percent: float, *, by: str, why: str | None = None) -> Transition:
    """Set the mirror of ``key``; a hold does not mind. Off, it ends a climb, which has nothing to go by then.

    Raises SwitchesError as ``State.change`` does.
    """
    settings: Mapping[str, Any] = {"mirror": percent, **(NO_CLIMB if percent == 0 else {})}
    return state.change(lambda _: [Change(key, settings)], Cause("mirror", by, why))[0]
