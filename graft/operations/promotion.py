"""Promotion: the ladder from legacy to native, and where a route stands on it.

First the mirror, then the shares of the route's ladder, by default 1, 10, 50 and 100: one step at a time, each through
the gates of ``graft.operations.gates`` and after a least time. At 100 the route is watched for a while, and goes back
as from any other rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graft.operations.baselines import Rung
from graft.operations.gates import Gate, Verdict, gates_of
from graft.operations.shift import refuse_if_held
from graft.operations.state import Cause, Change, State
from graft.operations.switch import NO_CLIMB, Switch
from graft.operations.switches import Switches
from graft.types import RouteKey


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a route stands. ``step`` is what the next one sets; None at the top, or where people have to decide."""

    key: RouteKey
    switch: Switch
    rung: Rung
    gates: tuple[Gate, ...]
    step: Mapping[str, float] | None

    @classmethod
    def of(cls, key: RouteKey, switch: Switch, rung: Rung) -> Standing:
        return cls(key, switch, rung, gates_of(key, switch, rung.figures), step_of(switch))

    @property
    def verdict(self) -> Verdict:
        verdicts = {gate.verdict for gate in self.gates}
        return next((each for each in (Verdict.CLOSED, Verdict.NOT_YET) if each in verdicts), Verdict.OPEN)

    @property
    def at_the_top(self) -> bool:
        return self.switch.share == 100

    @property
    def bake_seconds(self) -> float:
        """How long a climb stays here at least. Where users are not touched yet, the gates alone decide."""
        if self.switch.share == 0:
            return 0.0
        if self.at_the_top:
            return self.switch.watch
        number = sum(share <= self.switch.share for share in self.switch.ladder) - 1
        return self.switch.bake[min(max(number, 0), len(self.switch.bake) - 1)]

    @property
    def bakes_for(self) -> float:
        """Seconds of that which are left."""
        return max(self.bake_seconds - self.rung.seconds, 0.0)

    @property
    def closed(self) -> str:
        """The names of the closed gates."""
        return ", ".join(gate.name for gate in self.gates if gate.verdict is Verdict.CLOSED)

    @property
    def figures(self) -> str:
        return ", ".join(f"{gate.name}: {gate.figure}" for gate in self.gates)


def step_of(switch: Switch) -> dict[str, float] | None:
    """What the next step sets. First comes the mirror: without it there is nothing to go by."""
    if switch.share == 100:
        return None
    if switch.mirror == 0 and switch.gates.mirror:
        return {"mirror": 100}
    return {"share": next(share for share in switch.ladder if share > switch.share)}


def promote(state: State, standing: Standing, *, by: str) -> bool:
    """Take the step of ``standing``. False, and nothing happens, if somebody has changed the route meanwhile.

    Raises RouteHeld when a person holds the route.
    """
    refuse_if_held(standing.key, standing.switch)
    step: dict[str, Any] = dict(standing.step or {})
    if standing.switch.climb is not None and "share" in step:
        step["climb_share"] = step["share"]
    return _change_unless_changed(state, standing, step, Cause("promote", by, standing.figures))


def demote(state: State, standing: Standing, *, by: str, why: str) -> bool:
    """Give the route back to the legacy side; the mirror goes on, to show what is wrong, and a climb has ended. False
    as for ``promote``."""
    return _change_unless_changed(state, standing, {"share": 0.0, **NO_CLIMB}, Cause("demote", by, why))


def finish(state: State, standing: Standing, operation: str, *, by: str, why: str) -> bool:
    """End the climb where the route stands; ``operation`` is ``native`` at the top, else ``stop``. False as for
    ``promote``."""
    return _change_unless_changed(state, standing, NO_CLIMB, Cause(operation, by, why))


def _change_unless_changed(state: State, standing: Standing, settings: Mapping[str, Any], cause: Cause) -> bool:
    def decide(switches: Switches) -> list[Change]:
        same = switches.for_route(standing.key) == standing.switch
        return [Change(standing.key, settings)] if same else []

    return bool(state.change(decide, cause))
