"""Exchanges asked again on both sides, and what came out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from graft.mirroring.answers import Answer
from graft.mirroring.bodies import TooLarge
from graft.mirroring.compare import Comparison, Difference, compare
from graft.operations.switch import READING_METHODS, Switch
from graft.recordings.exchange import Exchange
from graft.types import RouteKey, Side
from graft.verification.asking import NoAnswer, Request
from graft.verification.identity import NOBODY, Identity
from graft.verification.sides import TwoSides

AGAIN = 2
"""Times that the legacy side is asked again: two random values may be equal once."""


class Outcome(StrEnum):
    SAME = "same"
    DIFFERENT = "different"
    FAILED = "failed"
    """the native side raised, said 5xx or did not answer, and the legacy side did"""
    NOT_COMPARABLE = "not comparable"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One request and what came out. ``note`` says why it was skipped or can't be compared, or how the native side
    failed; with SAME and DIFFERENT, what to know about it."""

    request: Request
    route: RouteKey | None
    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    note: str | None = None
    native: Answer | None = None
    legacy: Answer | None = None
    trace: str | None = None

    @property
    def name(self) -> str:
        return f"{self.request.method} {self.request.target}"


@dataclass(frozen=True, slots=True)
class Verification:
    verdicts: list[Verdict] = field(default_factory=list)

    def of(self, *outcomes: Outcome) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.outcome in outcomes]

    @property
    def differing(self) -> list[Verdict]:
        return self.of(Outcome.DIFFERENT, Outcome.FAILED)

    @property
    def compared(self) -> int:
        return len(self.of(Outcome.SAME, Outcome.DIFFERENT, Outcome.FAILED))

    @property
    def passed(self) -> bool:
        """Whether something was compared, and all of it is the same."""
        return self.compared > 0 and not self.differing


async def verify(
    sides: TwoSides,
    exchanges: Iterable[Exchange],
    *,
    route: RouteKey | None = None,
    allow_writes: bool = False,
    identity: Identity = NOBODY,
) -> Verification:
    """All of ``exchanges`` that a switched route answers, or ``route`` alone, in their order."""
    found = Verification()
    async for verdict in verdicts(sides, exchanges, route=route, allow_writes=allow_writes, identity=identity):
        found.verdicts.append(verdict)
    return found


async def verdicts(
    sides: TwoSides,
    exchanges: Iterable[Exchange],
    *,
    route: RouteKey | None = None,
    allow_writes: bool = False,
    identity: Identity = NOBODY,
) -> AsyncIterator[Verdict]:
    """The same, one after the other. Those of other routes than ``route`` are left out."""
    for exchange in exchanges:
        request = request_of(exchange, identity)
        known = sides.route_of(request)
        if route is not None and (known is None or known[0] != route):
            continue
        why = exchange.unaskable
        if known is None:
            yield Verdict(request, None, Outcome.SKIPPED, note="only one side has this route")
        elif why is not None:
            yield Verdict(request, known[0], Outcome.SKIPPED, note=why)
        elif exchange.method not in READING_METHODS and not allow_writes:
            yield Verdict(request, known[0], Outcome.SKIPPED, note="it writes; --allow-writes asks it all the same")
        else:
            verdict = await check(sides, request, *known, fenced=not allow_writes)
            yield _with_note(verdict, exchange, identity)


def request_of(exchange: Exchange, identity: Identity) -> Request:
    body = (exchange.body or "").encode()
    return Request(exchange.method, exchange.target, exchange.host, identity.on(exchange.kept_headers), body)


async def check(sides: TwoSides, request: Request, key: RouteKey, switch: Switch, *, fenced: bool) -> Verdict:
    """Ask both sides and compare. Where they differ the legacy side is asked again, if it only reads: what differs from
    its own first answer, as a time or a random order, says nothing about the native side."""
    legacy = await sides.ask(Side.LEGACY, request, switch, fenced=fenced)
    if isinstance(legacy, NoAnswer):
        return Verdict(request, key, Outcome.NOT_COMPARABLE, note=f"legacy: {legacy.why}")
    native = await sides.ask(Side.NATIVE, request, switch, fenced=fenced)
    if isinstance(native, NoAnswer):
        if native.failure is None or legacy.status >= 500:
            return Verdict(request, key, Outcome.NOT_COMPARABLE, note=f"native: {native.why}", legacy=legacy)
        trace = native.failure.trace
        return Verdict(request, key, Outcome.FAILED, note=native.why, legacy=legacy, trace=trace)
    comparison = Comparison.of(switch)
    try:
        differences = compare(native, legacy, comparison)
        for _ in range(AGAIN if request.method in READING_METHODS else 0):
            if not differences:
                break
            again = await sides.ask(Side.LEGACY, request, switch, fenced=fenced)
            if isinstance(again, Answer) and again.status == legacy.status:
                noise = {each.place for each in compare(again, legacy, comparison)}
                differences = tuple(each for each in differences if each.place not in noise)
    except TooLarge:
        return Verdict(request, key, Outcome.NOT_COMPARABLE, note="a compressed answer that is too large")
    outcome = Outcome.DIFFERENT if differences else Outcome.SAME
    return Verdict(request, key, outcome, differences, None, native, legacy)


def _with_note(verdict: Verdict, exchange: Exchange, identity: Identity) -> Verdict:
    """What was struck may have decided the recorded answer: said where the legacy side now answers otherwise."""
    if verdict.legacy is None or verdict.legacy.status == exchange.status:
        return verdict
    note = f"the legacy side says {verdict.legacy.status} now, and said {exchange.status} when it was recorded"
    if not identity and (struck := exchange.struck_headers):
        note += f": it was asked with a {struck[0]} that was struck; --as or --header logs in"
    return replace(verdict, note=note if verdict.note is None else f"{verdict.note}; {note}")
