"""The gates between the rungs of a promotion: open, closed, or it is too early to say.

With too few requests nothing has been shown, which is "not yet" and never a pass. What counts is what happened since
the route stands on its rung.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from graft.figures.route_figures import RouteFigures
from graft.operations.switch import READING_METHODS, Switch
from graft.types import RouteKey, Side

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
