"""Hold and release: a person's stop. While it is on, no promotion moves the route, and its share does not go up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from graft.operations.state import Cause, Change, State, Transition, one_line
from graft.operations.switch import NO_CLIMB
from graft.operations.switches import Switches
from graft.types import RouteKey


def hold(state: State, key: RouteKey, reason: str, *, by: str) -> Transition:
    """Keep ``key`` from going up from where it is; a climb ends. Raises SwitchesError as ``State.change`` does."""
    return state.change(lambda _: [Change(key, hold_settings(reason, by))], Cause("hold", by, one_line(reason)))[0]


def release(state: State, key: RouteKey, *, by: str, why: str | None = None) -> Transition:
    """Take the hold of ``key`` off; its share stays where it is. Nothing happens to a route that is not held."""
    off = dict.fromkeys(("hold", "held_by", "held_at"))

    def decide(switches: Switches) -> list[Change]:
        return [Change(key, off if switches.for_route(key).hold is not None else {})]

    return state.change(decide, Cause("release", by, why))[0]


def hold_settings(reason: str, by: str) -> Mapping[str, Any]:
    """What a hold sets. ``reason`` may be any text; it is kept as one line."""
    return {
        **NO_CLIMB,
        "hold": one_line(reason) or "no reason given",
        "held_by": by,
        "held_at": datetime.now(UTC).replace(microsecond=0),
    }
