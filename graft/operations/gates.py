"""The gates between the rungs of a promotion: open, closed, or it is too early to say.

A gate is open when what was counted since the route stands on its rung shows, with the confidence that the route asks
for, that the truth is on the right side of the limit; it is closed when that shows the contrary, twenty times as
surely. Between the two it is "not yet", which is never a pass. However often somebody looks, the chances stay what they
are: see ``graft.operations.sequential``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from graft.figures.route_figures import RouteFigures
from graft.operations.baselines import rung_name
from graft.operations.latency_test import FREE_SECONDS, Quantiles
from graft.operations.sequential import above, below, bound_below, less_by, more_by
from graft.operations.switch import READING_KEYS, Gates, Switch
from graft.types import RouteKey, Side

CLOSED_IS_SURER = 20
"""A route is taken back at an error of so much less than it is let through: on each of some rungs, several gates look
at a sound route."""

FULL_SHARE = 10.0
"""Percent of users from which the gates of errors and status hold in full. On a rung below, where fewer can be harmed,
fewer native answers are asked for: at share 1 a tenth of the certainty."""

MANY_FOR_NOBODY = 20.0
"""Where the share would have made so many answers native and none is, the clients are few, or look like few."""

STATUS_CLASSES = ("2xx", "3xx", "4xx")

LONGEST_WAIT = 1000.0
"""So many times what was counted: what is farther away is not foretold."""


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
    more: float | None = None
    """of a gate that is not yet open: so many times what was counted on this rung is still to come, if it goes on like
    that; None where that can't be told"""


def gates_of(key: RouteKey, switch: Switch, since: RouteFigures) -> tuple[Gate, ...]:
    """The gates of the next step; ``since`` is what happened since the route stands on its rung."""
    if switch.hold is not None:
        return (Gate("held", Verdict.CLOSED, switch.hold, f'when that is settled: graft release "{key}"'),)
    if switch.tripped:
        return (Gate("tripped", Verdict.CLOSED, switch.tripped, f'mend it, then: graft shift "{key}" 0'),)
    looking = _Looking(switch, since)
    if switch.mirror:
        compared = (looking.compared(), looking.parity(), looking.uncompared())
        return (*compared, *((looking.errors(),) if switch.share else ()), looking.latency())
    if not switch.gates.mirror:
        by_choice = Gate("mirror", Verdict.OPEN, "none, as gates.mirror is false", "no comparison")
        if switch.share in (0, 100):  # one side alone: nothing to hold its status and its latency against
            return (by_choice, looking.errors()) if switch.share else (by_choice,)
        return by_choice, looking.errors(), looking.status(), looking.latency()
    if key.method in READING_KEYS:
        return ()
    advice = (
        f'if that does no harm: graft mirror "{key}" 100; to climb without one, on errors, status and latency alone: '
        "gates.mirror = false in switches.toml"
    )
    return (Gate("mirror", Verdict.NOT_YET, f"{key.method} writes, and a mirror would run it twice", advice),)


class _Looking:
    """One look at one route."""

    def __init__(self, switch: Switch, since: RouteFigures) -> None:
        self._since = since
        self._share = switch.share
        self._sticky = switch.sticky
        self._rung = rung_name(switch)
        self._gates: Gates = switch.gates
        self._sure = -math.log1p(-switch.gates.confidence / 100)
        self._very_sure = self._sure + math.log(CLOSED_IS_SURER)

    def compared(self) -> Gate:
        least, compared = self._gates.compared, self._since.compared
        more = least / compared - 1 if compared else None
        wanted = f"at least {least}"
        if compared >= least:
            return Gate("compared", Verdict.OPEN, f"{compared} requests", wanted)
        return Gate("compared", Verdict.NOT_YET, f"{compared} requests", wanted, more)

    def parity(self) -> Gate:
        different, compared = self._since.different_on(self._rung), self._since.compared
        limit = 1 - self._gates.parity / 100
        wanted = f"surely at least {self._gates.parity:g} %"
        if not compared:
            return Gate("parity", Verdict.NOT_YET, "nothing compared", wanted)
        surely = 100 * (1 - bound_below(different, compared, self._sure))
        parity = 100 * (1 - different / compared)
        figure = f"{_floor(parity)} %, {different} differ, surely at least {_floor(surely)} %"
        return self._gate(
            "parity",
            figure,
            wanted,
            lambda scale: below(different * scale, compared * scale, limit),
            above(different, compared, limit),
        )

    def uncompared(self) -> Gate:
        """Requests of which no two answers could be laid beside each other, say nothing about parity."""
        mirrored = self._since.mirrored
        failed, skipped, untold = (mirrored.get(result, 0) for result in ("failed", "skipped", "untold"))
        nothing = failed + skipped + untold
        tried = self._since.compared + nothing
        limit = self._gates.uncompared / 100
        return self._gate(
            "not compared",
            (f"{failed} failed and {skipped} skipped of {tried}" if tried else "nothing mirrored")
            + (f", {untold} not told: users never repeat a request; set resample = 5" if untold else ""),
            f"at most {self._gates.uncompared:g} %",
            lambda scale: below(nothing * scale, tried * scale, limit),
            above(failed + skipped, tried, limit),  # what is not told is no fault of the route
        )

    def errors(self) -> Gate:
        """Native answers to users against legacy ones on the same rung, which may fail as well when a backend is
        down. At share 100 the few that the legacy side still gave are no measure."""
        served, failed = self._since.served, self._since.native_failed
        native, legacy = served[Side.NATIVE] + served[Side.FALLBACK], served[Side.LEGACY] * (self._share < 100)
        failed = min(failed, native)
        legacy_failed = min(self._since.statuses[Side.LEGACY].get("5xx", 0), legacy)
        margin = self._margin(self._gates.errors)
        figure = f"{failed} of {native} answers" + (f", legacy {legacy_failed} of {legacy}" if legacy else "")
        if not native and legacy * self._share / 100 >= MANY_FOR_NOBODY:
            figure += f': no client came that is native, by sticky = "{self._sticky}"'
        return self._gate(
            "native errors",
            figure,
            f"at most {100 * margin:g} % more than legacy's",
            lambda scale: less_by(failed * scale, native * scale, legacy_failed * scale, legacy * scale, margin),
            more_by(failed, native, legacy_failed, legacy, self._gates.errors / 100),
        )

    def status(self) -> Gate:
        """Where nothing is compared: that as many answers are a success, a redirect, a refusal as on the legacy
        side."""
        native, legacy = self._since.statuses[Side.NATIVE], self._since.statuses[Side.LEGACY]
        of_native, of_legacy = sum(native.values()), sum(legacy.values())
        shares = [(native.get(each, 0), legacy.get(each, 0)) for each in STATUS_CLASSES]
        # Of each class as much as of all other answers: neither may there be more of it nor less.
        pairs = [*shares, *((of_native - a, of_legacy - b) for a, b in shares)]
        margin, full = self._margin(self._gates.status), self._gates.status / 100

        def opens(scale: float) -> float:
            return min(less_by(a * scale, of_native * scale, b * scale, of_legacy * scale, margin) for a, b in pairs)

        closes = max(more_by(a, of_native, b, of_legacy, full) for a, b in pairs)
        wanted = f"each within {100 * margin:g} % of legacy's"
        if not of_native or not of_legacy:
            return Gate("status", Verdict.NOT_YET, f"no {'legacy' if of_native else 'native'} answers", wanted)
        figure = ", ".join(
            f"{each} {100 * a / of_native:.1f} %, legacy {100 * b / of_legacy:.1f} %"
            for each, (a, b) in zip(STATUS_CLASSES, shares, strict=True)
            if a or b
        )
        # Six comparisons that may each close it by chance; to open it, all of them have to be won.
        return self._gate("status", figure or "errors alone", wanted, opens, closes - math.log(len(pairs)))

    def latency(self) -> Gate:
        native, legacy = self._since.latency[Side.NATIVE], self._since.latency[Side.LEGACY]
        slow, limit = native.quantile_ms(Quantiles.Q), legacy.quantile_ms(Quantiles.Q)
        wanted = f"surely at most {self._gates.slower:g} x legacy, or {FREE_SECONDS * 1000:g} ms more"
        if slow is None or limit is None:
            return Gate("p95", Verdict.NOT_YET, f"no {'native' if slow is None else 'legacy'} figure", wanted)
        quantiles = Quantiles(native, legacy, self._gates.slower)
        return self._gate(
            "p95",
            f"{slow:.1f} ms, legacy {limit:.1f} ms",
            f"{wanted}: {quantiles.limit(limit / 1000) * 1000:.1f} ms",
            lambda scale: quantiles.within(self._sure, scale),
            quantiles.beyond(self._very_sure),
        )

    def _margin(self, percent: float) -> float:
        return min(percent * max(1.0, FULL_SHARE / self._share), 50.0) / 100

    def _gate(self, name: str, figure: str, wanted: str, opens: Callable[[float], float], closes: float) -> Gate:
        """``opens`` is the evidence that all is well, if so many times as much had been counted."""
        if closes >= self._very_sure:
            return Gate(name, Verdict.CLOSED, figure, wanted)
        evidence = opens(1.0)
        if evidence >= self._sure:
            return Gate(name, Verdict.OPEN, figure, wanted)
        more = _more(evidence, opens, self._sure)
        if more is not None and self._since.requests:
            figure = f"{figure}; about {_round(more * self._since.requests)} more requests"
        return Gate(name, Verdict.NOT_YET, figure, wanted, more)


def _more(evidence: float, opens: Callable[[float], float], sure: float) -> float | None:
    """Evidence grows by much the same with each more of the same."""
    slope = (opens(4.0) - evidence) / 3
    if slope <= 0:
        return None
    more = (sure - evidence) / slope
    return more if more <= LONGEST_WAIT else None


def _floor(percent: float) -> str:
    """99.996 % is not 100 %."""
    return f"{math.floor(percent * 100 + 1e-9) / 100:g}"


def _round(count: float) -> int:
    """Two digits, as it is a guess."""
    step: int = 10 ** max(0, len(str(math.ceil(count))) - 2)
    return math.ceil(count / step) * step
