"""Changes in words: for the history's table, the dashboard and webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graft.operations.state import Event, plain_value

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
    rest = [text for name in after if name not in _TOLD for text in _changes(name, before.get(name), after[name])]
    return ", ".join([*numbers, *words, *rest]) or "nothing"


def _changes(name: str, before: Any, after: Any) -> Iterator[str]:
    """Of a table what changed in it, of a list of names what came and what went."""
    before, after = plain_value(before), plain_value(after)
    if isinstance(before, dict) and isinstance(after, dict):
        for inner in after:
            if before.get(inner) != after[inner]:
                yield from _changes(f"{name}.{inner}", before.get(inner), after[inner])
    elif _is_names(before) and _is_names(after) and set(before) != set(after):
        came = [f"+ {each}" for each in after if each not in before]
        went = [f"- {each}" for each in before if each not in after]
        yield f"{name} {' '.join([*came, *went])}"
    else:
        yield f"{name} {_value(before)} -> {_value(after)}"


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _value(value: Any) -> str:
    """As switches.toml has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def set_aside(place: str, kept: str) -> str:
    """That the broken switches of ``place`` are at ``kept`` now."""
    return f"{place} was broken: it was set aside as {kept}, and the last good one is in its place."


def sentence(event: Event) -> str:
    """One change in one line: ``GET /a: share 10 -> 0, by alice (rollback on web-1): wrong totals``."""
    why = f": {event.why}" if event.why else ""
    change = change_text(event.before, event.after)
    return f"{event.key}: {change}, by {event.by} ({event.operation} on {event.host}){why}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
