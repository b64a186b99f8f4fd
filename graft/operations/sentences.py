"""Changes in words: for the history's table, the dashboard and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft.operations.state import Event

_MARKS = (
    ("tripped", "tripped", "trip taken back"),
    ("hold", "held", "released"),
    ("climb", "climbs", "no climb"),
)
_TOLD = {"share", "mirror", "tripped", "tripped_at", "hold", "held_by", "held_at", "climb", "climb_at", "climb_share"}


def change_text(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What changed: ``share 10 -> 0, held``."""
    numbers = [f"{name} {before[name]:g} -> {after[name]:g}" for name in ("share", "mirror") if name in after]
    words = [on if after[name] is not None else off for name, on, off in _MARKS if name in after]
    rest = [f"{name} {before.get(name)} -> {after[name]}" for name in after if name not in _TOLD]
    return ", ".join([*numbers, *words, *rest]) or "nothing"


def set_aside(place: str, kept: str) -> str:
    """That the broken switches of ``place`` are at ``kept`` now."""
    return f"{place} was broken: it was set aside as {kept}, and the last good one is in its place."


def sentence(event: Event) -> str:
    """One change in one line: ``GET /a: share 10 -> 0, by alice (rollback on web-1): wrong totals``."""
    why = f": {event.why}" if event.why else ""
    change = change_text(event.before, event.after)
    return f"{event.key}: {change}, by {event.by} ({event.operation} on {event.host}){why}"
