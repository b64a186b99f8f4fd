"""The JSON of a promotion: where a route stands, what it waits for and how long, and how its last climb ended."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from graft.operations.gates import Gate, Verdict
from graft.operations.promotion import Standing
from graft.operations.sentences import duration
from graft.operations.state import Event
from graft.types import Side

LONGEST_WAIT = 7 * 86_400
"""Seconds: what would take longer is not told as a time."""


def standing_data(standing: Standing, events: Iterable[Event]) -> dict[str, Any]:
    """``events`` are the route's, the newest first: they tell how the last climb ended."""
    switch, rung = standing.switch, standing.rung
    climb = None
    if switch.climb is not None:
        climb = {"by": switch.climb, "since": switch.climb_at.isoformat() if switch.climb_at else None}
    return {
        "route": str(standing.key),
        "share": switch.share,
        "mirror": switch.mirror,
        "hold": switch.hold,
        "climb": climb,
        "verdict": standing.verdict,
        "gates": [
            {"gate": gate.name, "verdict": gate.verdict, "figure": gate.figure, "wanted": gate.wanted}
            for gate in (*standing.gates, *_bake(standing))
        ],
        "confidence": switch.gates.confidence,
        "step": standing.step,
        "seconds": round(rung.seconds, 1),
        "bake_seconds": standing.bake_seconds,
        "compared": rung.figures.compared,
        "waits_for": _waits_for(standing),
        "wait_seconds": wait_seconds(standing),
        "waits": waits(standing),
        "ended": None if climb else _ended(events),
    }


def _bake(standing: Standing) -> list[Gate]:
    """The least time on this rung, told as the gates are."""
    if not standing.gates or not standing.bake_seconds:
        return []
    verdict = Verdict.NOT_YET if standing.bakes_for else Verdict.OPEN
    return [Gate("bake", verdict, f"{standing.rung.seconds:.0f} s here", f"at least {standing.bake_seconds:g} s")]


def waits(standing: Standing) -> str:
    """What the next step waits for and how long, in words for people."""
    if standing.at_the_top and standing.switch.climb is None:
        return "it is at the top of its ladder"
    if standing.verdict is Verdict.CLOSED:
        return f"closed by {standing.closed}: it is not promoted until that is mended"
    what = ", ".join(_waits_for(standing))
    if not what:
        climbs = standing.switch.climb is not None
        return "waits for the gateway's next look" if climbs else "nothing is in the way of the next step"
    if (seconds := wait_seconds(standing)) is not None:
        return f"waits for {what}: about {duration(seconds)} at this traffic"
    if not standing.rung.figures.requests and not standing.rung.figures.compared:
        return f"waits for {what}: no telling how long before a request comes"
    served = standing.rung.figures.served
    if standing.switch.share and not served[Side.NATIVE] + served[Side.FALLBACK]:
        return f"waits for {what}: no user has had a native answer on this step yet"
    unforeseen = [gate.name for gate in standing.gates if gate.verdict is Verdict.NOT_YET and gate.more is None]
    never = f": by what came so far, {', '.join(unforeseen)} would not open" if unforeseen else ": more than a week"
    return f"waits for {what}{never}"


def _waits_for(standing: Standing) -> list[str]:
    """The gates that are not open, and the least time on this rung."""
    waiting = [gate.name for gate in standing.gates if gate.verdict is not Verdict.OPEN]
    return [*waiting, *(["bake"] if standing.bakes_for else [])]


def wait_seconds(standing: Standing) -> float | None:
    """How long until the next step at the traffic of this rung; None where that can't be told."""
    missing = [gate.more for gate in standing.gates if gate.verdict is Verdict.NOT_YET]
    if standing.verdict is Verdict.CLOSED or None in missing:
        return None
    seconds = max((more for more in missing if more is not None), default=0.0) * standing.rung.seconds
    return math.ceil(max(seconds, standing.bakes_for)) if seconds < LONGEST_WAIT else None


def _ended(events: Iterable[Event]) -> dict[str, Any] | None:
    """The change that ended the newest climb."""
    for event in events:
        if event.before.get("climb") is not None and event.after.get("climb") is None:
            data = event.as_data()
            return {name: data[name] for name in ("operation", "by", "why", "at")} | {
                "share": {"from": data["from"].get("share"), "to": data["to"].get("share")}
            }
    return None
