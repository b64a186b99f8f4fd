"""Comparisons: what both sides said to one request, laid beside what is known of the route's noise, counted and kept.

What is the same to the byte is counted on the event loop. All else is for a thread that works in slices (slices.py), in
which the noise lives: nobody else touches it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass

from graft.figures.recorder import Recorder
from graft.mirroring.answers import Answer
from graft.mirroring.bodies import TooLarge
from graft.mirroring.compare import Comparison, Difference
from graft.mirroring.last_answers import Answers, LastAnswers, input_of
from graft.mirroring.metering import Meter
from graft.mirroring.mirrored import Keeper, Mirrored
from graft.mirroring.noise import Agreements, Noise, Settled
from graft.mirroring.observation import NOT_MODIFIED, agree, observe
from graft.mirroring.original import Original
from graft.mirroring.slices import Slices
from graft.mirroring.withdrawals import Counted, Finding, Withdrawals
from graft.threads.starting import NoThread
from graft.types import RouteKey, Side

logger = logging.getLogger("graft.mirroring.mirror")


@dataclass(frozen=True, slots=True)
class _Pair:
    """One request and both answers to it, until it can be told whether they differ."""

    original: Original
    side: Side
    native: Answer
    legacy: Answer


class Comparisons:
    """All of this process. Used on the event loop; ``keeper`` may change."""

    def __init__(self, recorder: Recorder, keeper: Keeper | None, quiet: float) -> None:
        """A route without a comparison for ``quiet`` seconds settles what it holds."""
        self.keeper = keeper
        self.noise: Noise[_Pair] = Noise(quiet)
        self.slices = Slices()
        self._quiet = quiet
        self._recorder = recorder
        self._agreements: defaultdict[RouteKey, Agreements] = defaultdict(Agreements)
        self._withdrawals = Withdrawals()
        self._last = LastAnswers()
        self._clock = time.time

    def forget(self, key: RouteKey) -> None:
        """The route has another switch: what was counted under the old one is not taken back."""
        self._withdrawals.forget(key)

    async def aclose(self) -> None:
        """Decide all that is held, by what is known."""
        agreements = dict(self._agreements)
        with suppress(NoThread):
            await self._decide_what_is_held(agreements, math.inf)
        await self.slices.aclose()

    async def compare(
        self, original: Original, side: Side, native: Answer, legacy: Answer, second: Answer | None, meter: Meter
    ) -> None:
        """Compare, and count what can be decided now. ``second`` is another answer of the legacy side."""
        key, now = original.sides.key, self._clock()
        before = None
        if NOT_MODIFIED not in (native.status, legacy.status):
            before = self._last.exchange(input_of(key, original.scope, original.body), native, legacy, now)
        comparison = Comparison.of(original.switch)
        if second is None and agree(native, legacy, before, comparison):
            self._agreements[key].add(before is not None, now)
            self._recorder.compared(key, True)
            return
        pair = _Pair(original, side, native, legacy)
        agreements = self._agreements.pop(key, None)
        settled, new = await self.slices.run(
            meter.called, self._decide, pair, before, comparison, second, now, agreements
        )
        if new is None:
            self._recorder.skipped(key, "large")
        await self._count(settled)
        if self.keeper is not None and new:
            await self.keeper.learned(key, new)

    def _decide(
        self,
        pair: _Pair,
        before: Answers | None,
        comparison: Comparison,
        second: Answer | None,
        now: float,
        agreements: Agreements | None,
    ) -> tuple[list[Settled[_Pair]], frozenset[str] | None]:
        """What is decided by one comparison, and what is newly known as noise; None for what is too large to compare.
        (the thread of the slices)"""
        key, native, legacy = pair.original.sides.key, pair.native, pair.legacy
        settled = self.noise.agreed(key, agreements) if agreements is not None else []
        try:
            seen = observe(native, legacy, before, comparison, second)
        except TooLarge:
            return settled, None
        settled += self.noise.take(key, seen, pair, now, len(native.body) + len(legacy.body))
        return settled, self.noise.newly_learned(key)

    async def _count(self, settled: list[Settled[_Pair]]) -> None:
        for each in settled:
            pair = each.item
            if each.untold:
                self._recorder.untold(pair.original.sides.key)
                continue
            self._recorder.compared(pair.original.sides.key, not each.differences)
            if each.differences:
                key = pair.original.sides.key
                self._withdrawals.counted(key, pair.original.switch, each.marks, self._clock())
                answers = (pair.native, pair.legacy) if pair.side is Side.NATIVE else (pair.legacy, pair.native)
                try:
                    await self.keep(pair.original, pair.side, *answers, each.differences, None)
                except Exception:
                    self._recorder.failed(key, "error")
                    logger.warning("mirror: what %s differs in could not be kept", key, exc_info=True)

    async def settle(self) -> None:
        """For ever: twice in ``quiet`` seconds, what is held on routes that were quiet is decided by what is known; now
        and then, what was counted as different and is noise by now is taken back."""
        while True:
            await asyncio.sleep(self._quiet / 2)
            if counted := self._withdrawals.due(self._clock()):
                with suppress(NoThread):  # the next time
                    for key, finding in await self.slices.run(self._explained, counted):
                        self._recorder.withdrawn(key, *self._withdrawals.take_back(key, finding))
            known = [key for key in self._agreements if key in self.noise.routes]
            if self.noise.holds or known:
                agreements = {key: self._agreements.pop(key) for key in known}
                with suppress(NoThread):  # the next time
                    await self._decide_what_is_held(agreements, self._clock())

    async def _decide_what_is_held(self, agreements: dict[RouteKey, Agreements], now: float) -> None:
        settled, new = await self.slices.run(self._decide_quiet, agreements, now)
        await self._count(settled)
        if self.keeper is not None:
            for key, places in new.items():
                await self.keeper.learned(key, places)

    def _decide_quiet(
        self, agreements: dict[RouteKey, Agreements], now: float
    ) -> tuple[list[Settled[_Pair]], dict[RouteKey, frozenset[str]]]:
        """What is decided, and what is newly known of the routes of which something is. (the thread of the slices)"""
        settled = [each for key, agreed in agreements.items() for each in self.noise.agreed(key, agreed)]
        settled += self.noise.settle_quiet(now)
        keys = {each.item.original.sides.key for each in settled}
        return settled, {key: new for key in keys if (new := self.noise.newly_learned(key))}

    def _explained(self, counted: list[Counted]) -> list[tuple[RouteKey, Finding]]:
        """(the thread of the slices)"""
        return [(key, finding) for key, finding, examples in counted if self.noise.explains(key, examples)]

    async def keep(
        self,
        original: Original,
        side: Side,
        answer: Answer,
        other: Answer,
        differences: tuple[Difference, ...],
        note: str | None,
    ) -> None:
        """Keep what was found: ``answer`` is that of ``side``, which answered the user, ``other`` the mirrored one."""
        if self.keeper is None:
            return
        key, scope, switch = original.sides.key, original.scope, original.switch
        native, legacy = (answer, other) if side is Side.NATIVE else (other, answer)
        await self.keeper.keep(Mirrored(key, side, scope, original.body, switch, native, legacy, differences, note))
