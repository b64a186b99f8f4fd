"""The mirror: the same request once more on the other side, when the user has the answer.

Nothing here is on the user's path but keeping the answer that goes by. What is kept waits in a queue that is bounded in
number and in bytes, and is dropped, and counted, when that is full. A few workers take it from there; the legacy side
has threads of its own for it. Both answers are compared, the route's noise is learned, and what differs is kept.
Nobody is asked a third time, unless the route sets ``resample``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from graft import tasks
from graft.cancellation import cancel_and_wait
from graft.chance import CHANCE
from graft.figures.recorder import RECORDER, Recorder
from graft.mirroring import fence, metering
from graft.mirroring.answers import Answer
from graft.mirroring.bodies import TooLarge
from graft.mirroring.budget import TICK, Budget
from graft.mirroring.compare import Comparison, Difference
from graft.mirroring.failures import failure_of
from graft.mirroring.fence import Kind, Tried
from graft.mirroring.fences import watch
from graft.mirroring.last_answers import Answers, LastAnswers, input_of
from graft.mirroring.metering import Meter
from graft.mirroring.noise import QUIET, Agreements, Noise, Settled
from graft.mirroring.observation import NOT_MODIFIED, agree, observe
from graft.mirroring.original import Original, Sides, is_upload
from graft.mirroring.run import MirroredRun
from graft.mirroring.slices import Slices
from graft.mirroring.withdrawals import Counted, Finding, Withdrawals
from graft.operations.switch import READING_METHODS, Switch
from graft.threads.starting import NoThread
from graft.types import Receive, RouteKey, Scope, Send, Side

OLDEST = 5.0
"""Seconds after the user's answer until which the other side may be asked: later, too much has changed meanwhile."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One request, what both sides said to it, and where that differs; or a ``note`` why that can't be told."""

    key: RouteKey
    answered_by: Side
    scope: Scope
    body: bytes
    switch: Switch
    native: Answer
    legacy: Answer
    differences: tuple[Difference, ...]
    note: str | None = None


class Keeper(Protocol):
    """Keeps what differs; see ``graft.mirroring.differences``."""

    async def keep(self, mirrored: Mirrored) -> None:
        """Never raises, and is quick to give up."""

    async def learned(self, key: RouteKey, noise: frozenset[str]) -> None:
        """Never raises, and is quick to give up."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One request and both answers to it, until it can be told whether they differ."""

    original: Original
    side: Side
    native: Answer
    legacy: Answer


@dataclass(frozen=True, slots=True)
class _Job:
    original: Original
    side: Side
    size: int
    since: float


class Mirror:
    """All mirrored requests of this process: ``async with Mirror(...)``. At its end, what waits is dropped."""

    def __init__(
        self,
        *,
        recorder: Recorder | None = None,
        keeper: Keeper | None = None,
        at_once: int = 4,
        waiting: int = 200,
        waiting_bytes: int = 16 * 1024 * 1024,
        largest: int = 256 * 1024,
        deadline: float = 10.0,
        quiet: float = QUIET,
        budget: Budget | None = None,
    ) -> None:
        """``at_once`` requests run on the other side, ``waiting`` more wait; one with a body or an answer of more than
        ``largest`` bytes is skipped; the other side has ``deadline`` seconds; a route without a comparison for
        ``quiet`` seconds settles what it holds. Without a ``budget`` there is no limit to the time it takes."""
        self.budget = budget or Budget()
        self.noise: Noise[_Pair] = Noise(quiet)
        self._quiet = quiet
        self.slices = Slices()
        self._agreements: defaultdict[RouteKey, Agreements] = defaultdict(Agreements)
        self._shed: Counter[RouteKey] = Counter()
        self._withdrawals = Withdrawals()
        self._last = LastAnswers()
        self._clock = time.time
        self._recorder = recorder or RECORDER
        self._keeper = keeper
        self._at_once = at_once
        self._waiting = waiting
        self._room = waiting_bytes
        self._largest = largest
        self._deadline = deadline
        self._jobs: deque[_Job] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._keeping_on: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Mirror:
        self._keeping_on = [
            asyncio.create_task(self._settle(), name="graft-mirror-settle"),
            asyncio.create_task(self._share_out(), name="graft-mirror-budget"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = [*self._keeping_on, *self._running]
        self._keeping_on.clear()  # nothing begins from here on
        await cancel_and_wait(ending)
        agreements = dict(self._agreements)
        with suppress(NoThread):
            await self._decide_what_is_held(agreements, math.inf)
        await self.slices.aclose()
        while self._jobs:
            self._recorder.skipped(self._take().original.sides.key, "dropped")
        self._hand_over()

    def keep_in(self, keeper: Keeper) -> None:
        """Where differences go from now on."""
        self._keeper = keeper

    def follow(self, key: RouteKey) -> None:
        """The route of ``key`` has another switch from now on."""
        self._withdrawals.forget(key)

    def admits(self, key: RouteKey) -> bool:
        """Whether there is time for one more request of the route; counted as skipped if not."""
        if self.budget.admits(key):
            return True
        self._shed[key] += 1
        return False

    def original(self, sides: Sides, switch: Switch, scope: Scope, receive: Receive, send: Send) -> Original | None:
        """What keeps an admitted request while it is answered; None, and counted as skipped, if it is not for the
        mirror."""
        if is_upload(scope, self._largest):
            self._recorder.skipped(sides.key, "upload")
            return None
        return Original(sides, switch, scope, receive, send, self._largest)

    def take(self, original: Original, side: Side) -> None:
        """Have the answered request run on the other side, soon. Returns at once."""
        if side is Side.FALLBACK:  # the other side has failed just now
            return
        reason = original.unfit
        size = original.size
        if reason is None and (len(self._jobs) >= self._waiting or size > self._room or not self._keeping_on):
            reason = "dropped"
        if reason is not None:
            self._recorder.skipped(original.sides.key, reason)
            return
        self._room -= size
        self._jobs.append(_Job(original, side, size, time.perf_counter()))
        self._begin()

    def _take(self) -> _Job:
        job = self._jobs.popleft()
        self._room += job.size
        return job

    def _begin(self) -> None:
        """Begin what waits, as far as there is room. Each has a task of its own, in the context of the user's request,
        so that its log lines have the same id, and nothing that it sets there is seen by another."""
        while self._jobs and len(self._running) < self._at_once and self.budget.has_room and self._keeping_on:
            job = self._take()
            task = asyncio.create_task(self._do(job), context=job.original.context)
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._begin()

    async def _do(self, job: _Job) -> None:
        key, meter = job.original.sides.key, Meter()
        if time.perf_counter() - job.since > OLDEST:
            if self.budget.unlimited:  # it waited for other comparisons, and a larger budget would not help
                self._recorder.skipped(key, "late")
            else:
                self._shed[key] += 1
            return
        metering.current.set(meter)
        try:
            await meter.awaited(self._mirror(job.original, job.side, meter))
        except asyncio.CancelledError:
            if not self._keeping_on:  # the mirror ends
                raise
            self._recorder.failed(key, "error")  # what was asked has cancelled itself
        except Exception:
            self._recorder.failed(key, "error")
            logger.warning("mirror: %s could not be mirrored", key, exc_info=True)
        finally:
            self.budget.spend(key, meter.seconds)

    async def _share_out(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.budget.tick([job.original.sides.key for job in self._jobs])
            self._begin()
            self._hand_over()

    def _hand_over(self) -> None:
        """Count what the budget left out, many at once: on a busy worker that is most of the requests."""
        while self._shed:
            key, number = self._shed.popitem()
            self._recorder.skipped(key, "budget", number)

    async def _mirror(self, original: Original, side: Side, meter: Meter) -> None:
        key = original.sides.key
        other = Side.LEGACY if side is Side.NATIVE else Side.NATIVE
        answer = original.answer(side)
        tried = Tried(other, original.switch.allow, original.switch.redact)
        again = await self._ask(original, other, tried)
        if again in ("large", "stream"):
            self._recorder.skipped(key, str(again))
            return
        if isinstance(again, str):
            self._recorder.failed(key, "not comparable" if tried.note else again)
            line, trace = failure_of(tried.raised, self._deadline)
            original.log(logging.WARNING, "mirror: %s: the %s side gave no answer: %s", key, other, line)
            none = Answer(other, 500, (), b"", 0.0, trace, line)
            note = tried.note or f"not comparable: {other} gave no answer ({again})"
            await self._keep(original, side, answer, none, (), note)
            return
        self._recorder.mirrored(key, other, again.latency_ms / 1000)
        if tried.note is not None:
            self._recorder.failed(key, "not comparable")
            original.log(logging.INFO, "mirror: %s is %s", key, tried.note)
            await self._keep(original, side, answer, again, (), tried.note)
            return
        if again.failure is not None and not tried.logged:
            original.log(logging.WARNING, "mirror: %s: the %s side failed: %s", key, other, again.failure)
        native, legacy = (answer, again) if side is Side.NATIVE else (again, answer)
        await self._judge(original, side, native, legacy, meter)

    async def _judge(self, original: Original, side: Side, native: Answer, legacy: Answer, meter: Meter) -> None:
        """Compare, and count what can be decided now. What is the same to the byte is counted here; all else is for the
        thread, in which the noise lives."""
        key, now = original.sides.key, self._clock()
        before = None
        if NOT_MODIFIED not in (native.status, legacy.status):
            before = self._last.exchange(input_of(key, original.scope, original.body), native, legacy, now)
        second = await self._second(original, side)
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
        if self._keeper is not None and new:
            await self._keeper.learned(key, new)

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

    async def _second(self, original: Original, side: Side) -> Answer | None:
        """A second answer of the legacy side, where the route asks for it, it was the one that answered, and reads."""
        resample = original.switch.resample
        if side is not Side.LEGACY or original.scope["method"] not in READING_METHODS:
            return None
        if not resample or CHANCE.random() * 100 >= resample:
            return None
        tried = Tried(Side.LEGACY, original.switch.allow, original.switch.redact)
        answer = await self._ask(original, Side.LEGACY, tried)
        return answer if isinstance(answer, Answer) and tried.note is None else None

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
                    await self._keep(pair.original, pair.side, *answers, each.differences, None)
                except Exception:
                    self._recorder.failed(key, "error")
                    logger.warning("mirror: what %s differs in could not be kept", key, exc_info=True)

    async def _settle(self) -> None:
        """Twice a second: what is held on routes that have been quiet is decided by what is known; now and then, what
        was counted as different and is noise by now is taken back."""
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
        if self._keeper is not None:
            for key, places in new.items():
                await self._keeper.learned(key, places)

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

    async def _ask(self, original: Original, side: Side, tried: Tried) -> Answer | str:
        """The answer of ``side`` to a copy of the request, or why there is none, as ``Recorder.failed`` has it.

        What runs then, and the tasks that it starts, are fenced in; what comes afterwards is not.
        """
        watch()
        refusal = tasks.refusal.set(tried.refuse if tried.refuses(Kind.TASKS) else None)
        fenced = fence.current.set(tried)
        try:
            return await MirroredRun(original, side, self._largest, self._deadline, tried)()
        finally:
            fence.current.reset(fenced)
            tasks.refusal.reset(refusal)
            tried.end()

    async def _keep(
        self,
        original: Original,
        side: Side,
        answer: Answer,
        other: Answer,
        differences: tuple[Difference, ...],
        note: str | None,
    ) -> None:
        if self._keeper is None:
            return
        native, legacy = (answer, other) if side is Side.NATIVE else (other, answer)
        await self._keeper.keep(
            Mirrored(
                original.sides.key,
                side,
                original.scope,
                original.body,
                original.switch,
                native,
                legacy,
                differences,
                note,
            )
        )
