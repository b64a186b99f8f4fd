"""Mirror: set the percent of a route's requests that also run on the other side, and are compared."""

from __future__ import annotations

from graft.operations.state import Cause, Change, State, Transition
from graft.types import RouteKey


def mirror(state: State, key: RouteKey, percent: float, *, by: str, why: str | None = None) -> Transition:
    """Set the mirror of ``key``; a hold does not mind. Raises SwitchesError as ``State.change`` does."""
    return state.change(lambda _: [Change(key, {"mirror": percent})], Cause("mirror", by, why))[0]
