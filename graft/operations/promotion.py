"""Promotion: the ladder from legacy to native, and the gates between its rungs.

0 -> mirror 100 -> share 1 -> 10 -> 50 -> 100, one step at a time. A gate is open, closed, or it is too early to say:
with too few requests nothing has been shown, which is "not yet" and never a pass. What counts is what happened since
the route stands on its rung.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from graft import files
from graft.figures.client import GatewayFigures
from graft.figures.route_figures import RouteFigures
from graft.operations.shift import refuse_if_held
from graft.operations.state import Cause, Change, State
from graft.operations.switch import READING_METHODS, Switch
from graft.operations.switches import Switches
from graft.types import RouteKey, Side

SHARES = (0, 1, 10, 50, 100)
FREE_MS = 5.0
"""So much slower the native p95 may be anyway: below that, a ratio of two small numbers says nothing."""


class Verdict(StrEnum):
    OPEN = "open"
    NOT_YET = "not yet"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of a step, with its figure and what is wanted, for people."""

    name: str
    verdict: Verdict
    figure: str
    wanted: str


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


def gates_of(key: RouteKey, switch: Switch, since: RouteFigures) -> tuple[Gate, ...]:
    """The gates of the next step; ``since`` is what happened since the route stands on its rung."""
    if switch.hold is not None:
        return (Gate("held", Verdict.CLOSED, switch.hold, f'when that is settled: graft release "{key}"'),)
    if switch.tripped:
        return (Gate("tripped", Verdict.CLOSED, switch.tripped, f'mend it, then: graft shift "{key}" 0'),)
    if switch.mirror == 0:
        return _mirror_gate(key)
    gates = [_compared(switch, since), _parity(switch, since)]
    if switch.share > 0:
        gates.append(_errors(switch, since))
    return (*gates, _latency(switch, since))


def _mirror_gate(key: RouteKey) -> tuple[Gate, ...]:
    if key.method in READING_METHODS:
        return ()
    advice = f'if that does no harm: graft mirror "{key}" 100; else climb by hand: graft shift "{key}" 1'
    return (Gate("mirror", Verdict.NOT_YET, f"{key.method} writes, and a mirror would run it twice", advice),)


def _compared(switch: Switch, since: RouteFigures) -> Gate:
    minimum = switch.gates.compared
    verdict = Verdict.OPEN if since.compared >= minimum else Verdict.NOT_YET
    return Gate("compared", verdict, f"{since.compared} requests", f"at least {minimum}")


def _parity(switch: Switch, since: RouteFigures) -> Gate:
    """Closed as soon as the requests that are still to come can't make up for those that differed."""
    minimum = switch.gates.parity
    enough = max(since.compared, switch.gates.compared)
    if 100 * (enough - since.different) < minimum * enough:
        verdict = Verdict.CLOSED
    else:
        verdict = Verdict.OPEN if since.compared >= switch.gates.compared else Verdict.NOT_YET
    figure = "nothing compared" if since.parity is None else f"{_floor(since.parity)} %, {since.different} differ"
    return Gate("parity", verdict, figure, f"at least {minimum:g} %")


def _errors(switch: Switch, since: RouteFigures) -> Gate:
    answers, failed = since.served[Side.NATIVE] + since.served[Side.FALLBACK], since.native_failed
    enough = max(1, math.ceil(switch.gates.compared * switch.share / 100))
    of = max(answers, enough)
    if failed * 100 > switch.gates.errors * of:
        verdict = Verdict.CLOSED
    else:
        verdict = Verdict.OPEN if answers >= enough else Verdict.NOT_YET
    return Gate(
        "native errors", verdict, f"{failed} of {answers} answers", f"at most {switch.gates.errors:g} % of {of}"
    )


def _latency(switch: Switch, since: RouteFigures) -> Gate:
    """Neither open nor closed by the first few answers: one slow one is their p95."""
    native, legacy = (since.latency[side].quantile_ms(0.95) for side in (Side.NATIVE, Side.LEGACY))
    if native is None or legacy is None:
        missing = "native" if native is None else "legacy"
        return Gate("p95", Verdict.NOT_YET, f"no {missing} figure", f"at most {switch.gates.slower:g} x legacy")
    limit = max(legacy * switch.gates.slower, legacy + FREE_MS)
    verdict = Verdict.OPEN if native <= limit else Verdict.CLOSED
    if since.compared < switch.gates.compared:
        verdict = Verdict.NOT_YET
    return Gate("p95", verdict, f"{native:.1f} ms, legacy {legacy:.1f} ms", f"at most {limit:.1f} ms")


def _floor(percent: float) -> str:
    """99.996 % is not 100 %."""
    return f"{math.floor(percent * 100) / 100:g}"


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
