"""Promotion: the ladder from legacy to native, and where a route stands on it.

0 -> mirror 100 -> share 1 -> 10 -> 50 -> 100, one step at a time, each through the gates of ``graft.operations.gates``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft import files
from graft.figures.client import GatewayFigures
from graft.figures.route_figures import RouteFigures
from graft.operations.gates import Gate, Verdict, gates_of
from graft.operations.shift import refuse_if_held
from graft.operations.state import Cause, Change, State
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.types import RouteKey

SHARES = (0, 1, 10, 50, 100)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a route stands. ``step`` is what the next one sets; None at the top, or where people have to decide."""

    key: RouteKey
    switch: Switch
    gates: tuple[Gate, ...]
    step: Mapping[str, float] | None

    @property
    def verdict(self) -> Verdict:
        verdicts = {gate.verdict for gate in self.gates}
        return next((each for each in (Verdict.CLOSED, Verdict.NOT_YET) if each in verdicts), Verdict.OPEN)

    @property
    def at_the_top(self) -> bool:
        return self.switch.share == 100


def step_of(switch: Switch) -> dict[str, float] | None:
    """What the next step sets. First comes the mirror: without it there is nothing to go by."""
    if switch.share == 100:
        return None
    if switch.mirror == 0:
        return {"mirror": 100}
    return {"share": next(share for share in SHARES if share > switch.share)}


class Baselines:
    """What the figures were when each route came to its rung, in one small file.

    It is only for people and promotions: lost or broken, the figures count from now on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def since(self, key: RouteKey, switch: Switch, now: RouteFigures) -> RouteFigures:
        """The figures since the route stands where it does; that begins now, if it was not known to.

        It also begins now where fewer were counted than before: either the gateway was started again, or this worker's
        figures are a moment old. To take them all for the rung's would let a step pass that has shown nothing yet.
        """
        kept = self._read()
        rung = [switch.share, switch.mirror]
        since = now.since(start) if (start := _start(kept.get(str(key)), rung)) else None
        if since is None:
            self._write({**kept, str(key): {"rung": rung, "figures": now.as_data()}})
            return RouteFigures()
        return since

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {key: each for key, each in kept.items() if isinstance(each, dict)} if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, Any]) -> None:
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(self._path, json.dumps(kept, indent=1).encode())


def _start(kept: Any, rung: list[float]) -> RouteFigures | None:
    """The figures in ``kept`` if they are those of the beginning of ``rung``."""
    if not isinstance(kept, dict) or kept.get("rung") != rung:
        return None
    try:
        return RouteFigures.of_data(kept.get("figures"))
    except ValueError:
        return None


class Promotion:
    """The climb of one route. Its methods block, and read the switches anew each time, so people may join in."""

    def __init__(self, key: RouteKey, state: State, figures: GatewayFigures, baselines: Baselines) -> None:
        self.key = key
        self.state = state
        self._figures = figures
        self._baselines = baselines

    def standing(self) -> Standing:
        """Raises GraftError when the switches or the figures can't be read."""
        switch = self.state.read().for_route(self.key)
        since = self._baselines.since(self.key, switch, self._figures.figures(self.key))
        return Standing(self.key, switch, gates_of(self.key, switch, since), step_of(switch))


def promote(state: State, standing: Standing, *, by: str) -> bool:
    """Take the step of ``standing``. False, and nothing happens, if somebody has changed the route meanwhile.

    Raises RouteHeld when a person holds the route.
    """
    refuse_if_held(standing.key, standing.switch)
    figures = ", ".join(f"{gate.name}: {gate.figure}" for gate in standing.gates)
    return _change_unless_changed(state, standing, standing.step or {}, Cause("promote", by, figures))


def demote(state: State, standing: Standing, *, by: str, why: str) -> bool:
    """Give the route back to the legacy side; the mirror goes on, to show what is wrong. False as for ``promote``."""
    return _change_unless_changed(state, standing, {"share": 0.0}, Cause("demote", by, why))


def _change_unless_changed(state: State, standing: Standing, settings: Mapping[str, float], cause: Cause) -> bool:
    def decide(switches: Switches) -> list[Change]:
        same = switches.for_route(standing.key) == standing.switch
        return [Change(standing.key, settings)] if same else []

    return bool(state.change(decide, cause))
