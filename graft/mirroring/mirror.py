"""The mirror: the same request once more on the other side, when the user has the answer.

Nothing here is on the user's path but keeping the answer that goes by. What is kept waits in a queue that is bounded in
number and in bytes, and is dropped, and counted, when that is full. A few at once are taken from there; the legacy side
has threads of its own for it. Both answers are compared, the route's noise is learned, and what differs is kept.
Nobody is asked a third time, unless the route sets ``resample``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from contextvars import Context
from functools import partial
from types import TracebackType

from graft import tasks
from graft.cancellation import cancel_and_wait
from graft.chance import CHANCE
from graft.figures.recorder import RECORDER, Recorder
from graft.mirroring import fence, metering
from graft.mirroring.answers import Answer
from graft.mirroring.budget import TICK, Budget
from graft.mirroring.comparisons import Comparisons
from graft.mirroring.deadlines import Deadlines
from graft.mirroring.failures import failure_of
from graft.mirroring.fence import Kind, Tried
from graft.mirroring.fences import watch
from graft.mirroring.job_queue import Job, JobQueue
from graft.mirroring.metering import Meter
from graft.mirroring.mirrored import Keeper
from graft.mirroring.noise import QUIET
from graft.mirroring.original import Original, Sides, is_upload
from graft.mirroring.run import MirroredRun
from graft.operations.switch import READING_METHODS, Switch
from graft.types import Receive, RouteKey, Scope, Send, Side

logger = logging.getLogger(__name__)


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
        self._recorder = recorder or RECORDER
        self.comparisons = Comparisons(self._recorder, keeper, quiet)
        self._jobs = JobQueue(waiting, waiting_bytes, self._discard)
        self._left_out: Counter[tuple[RouteKey, str]] = Counter()
        self._at_once = at_once
        self._largest = largest
        self._deadlines = Deadlines(deadline)
        self._running: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._keeping_on: list[asyncio.Task[None]] = []
        self._silent: set[RouteKey] = set()
        """Routes whose other side let the last deadline pass. Together they have one place of those that are there for
        all, so that the mirrors of the others go on: ``_trying`` is who has it."""
        self._trying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Mirror:
        self._keeping_on = [
            asyncio.create_task(self.comparisons.settle(), name="graft-mirror-settle"),
            asyncio.create_task(self._share_out(), name="graft-mirror-budget"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = [*self._keeping_on, *self._running, *self._telling]
        self._keeping_on.clear()  # nothing begins from here on
        await cancel_and_wait(ending)
        self._deadlines.close()
        await self.comparisons.aclose()
        self._jobs.clear()
        self._hand_over()

    @property
    def is_busy(self) -> bool:
        """Whether a request runs on the other side, or waits for it."""
        return bool(self._running or self._jobs)

    def keep_in(self, keeper: Keeper) -> None:
        """Where differences go from now on."""
        self.comparisons.keeper = keeper

    def follow(self, key: RouteKey) -> None:
        """The route of ``key`` has another switch from now on."""
        self.comparisons.forget(key)

    def admits(self, key: RouteKey) -> bool:
        """Is one more request of the route for the mirror? Counted as skipped if not. It is not kept in vain: that is
        the user's time."""
        if not self.budget.admits(key):
            self._left_out[key, "budget"] += 1
        elif not self._jobs.has_room(key) or (key in self._silent and self._trying is not None):
            self._left_out[key, "dropped"] += 1
        else:
            return True
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
        if reason is None:
            job = Job(original.sides.key, original, side, original.size, time.perf_counter())
            if not self._jobs and self._may_begin:  # most need no place in the queue
                self._start(job)
                return
            if self._keeping_on and self._jobs.put(job):
                self._begin()
                return
            reason = "dropped"
        self._recorder.skipped(original.sides.key, reason)

    @property
    def _may_begin(self) -> bool:
        return len(self._running) < self._at_once and self.budget.has_room and bool(self._keeping_on)

    def _begin(self) -> None:
        """Begin what waits, as far as there is room."""
        while self._jobs and self._may_begin:
            job = self._jobs.next()
            if job is not None:
                self._start(job)

    def _start(self, job: Job) -> None:
        """Each has a task of its own, in the context of the user's request, so that its log lines have the same id, and
        nothing that it sets there is seen by another."""
        is_silent = job.key in self._silent
        if is_silent and self._trying is not None:
            self._discard(job.key, "dropped")
            return
        task = asyncio.create_task(self._do(job), context=job.original.context)
        if is_silent:
            self._trying = task
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task is self._trying:
            self._trying = None
        self._begin()

    async def _do(self, job: Job) -> None:
        key, meter = job.key, Meter()
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
            self._jobs.discard_late()
            self.budget.tick(self._jobs.keys)
            self._begin()
            self._hand_over()

    def _discard(self, key: RouteKey, reason: str) -> None:
        if reason == "late" and not self.budget.unlimited:  # with a larger one it would not have waited for so long
            reason = "budget"
        self._left_out[key, reason] += 1

    def _hand_over(self) -> None:
        """Count what was left out, many at once: on a busy worker that is most of the requests."""
        while self._left_out:
            (key, reason), number = self._left_out.popitem()
            self._recorder.skipped(key, reason, number)

    async def _mirror(self, original: Original, side: Side, meter: Meter) -> None:
        key = original.sides.key
        other = Side.LEGACY if side is Side.NATIVE else Side.NATIVE
        answer = original.answer(side)
        tried = Tried(other, original.switch.allow, original.switch.redact)
        again = await self._ask(original, other, tried)
        if isinstance(again, str):
            if again in ("large", "stream"):
                self._recorder.skipped(key, again)
                return
            self._recorder.failed(key, "not comparable" if tried.note else again)
            line, trace = failure_of(tried.raised, self._deadlines.seconds)
            original.log(logging.WARNING, "mirror: %s: the %s side gave no answer: %s", key, other, line)
            none = Answer(other, 500, (), b"", 0.0, trace, line)
            note = tried.note or f"not comparable: {other} gave no answer ({again})"
            await self.comparisons.keep(original, side, answer, none, (), note)
            return
        self._recorder.mirrored(key, other, again.latency_ms / 1000)
        if tried.note is not None:
            await self._not_comparable(original, side, answer, again, tried.note)
            return
        if again.failure is not None and not tried.logged:
            original.log(logging.WARNING, "mirror: %s: the %s side failed: %s", key, other, again.failure)
        tried.on_late = partial(self._tell_late, asyncio.get_running_loop(), original, side, answer, again)
        native, legacy = (answer, again) if side is Side.NATIVE else (again, answer)
        second = await self._second(original, side) if original.switch.resample else None
        await self.comparisons.compare(original, side, native, legacy, second, meter)

    def _tell_late(
        self, loop: asyncio.AbstractEventLoop, original: Original, side: Side, answer: Answer, again: Answer, note: str
    ) -> None:
        """What a mirrored run has left running was refused something, when its answer was taken for comparable. (any
        thread; in the context of that run, which is fenced in)"""

        def tell() -> None:
            if self._keeping_on:
                task = loop.create_task(self._not_comparable(original, side, answer, again, note))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, context=Context())

    async def _not_comparable(self, original: Original, side: Side, answer: Answer, again: Answer, note: str) -> None:
        key = original.sides.key
        self._recorder.failed(key, "not comparable")
        original.log(logging.INFO, "mirror: %s is %s", key, note)
        await self.comparisons.keep(original, side, answer, again, (), note)

    async def _second(self, original: Original, side: Side) -> Answer | None:
        """A second answer of the legacy side, where the route asks for it, it was the one that answered, and reads."""
        if side is not Side.LEGACY or original.scope["method"] not in READING_METHODS:
            return None
        if CHANCE.random() * 100 >= original.switch.resample:
            return None
        tried = Tried(Side.LEGACY, original.switch.allow, original.switch.redact)
        answer = await self._ask(original, Side.LEGACY, tried)
        return answer if isinstance(answer, Answer) and tried.note is None else None

    async def _ask(self, original: Original, side: Side, tried: Tried) -> Answer | str:
        """The answer of ``side`` to a copy of the request, or why there is none, as ``Recorder.failed`` has it.

        What runs then, and the tasks that it starts, are fenced in; what comes afterwards is not.
        """
        watch()
        refusal = tasks.refusal.set(tried.refuse if Kind.TASKS not in tried.allowed else None)
        fenced = fence.current.set(tried)
        run = MirroredRun(original, side, self._largest, self._deadlines, tried)
        try:
            return await run()
        finally:
            (self._silent.add if run.is_overdue else self._silent.discard)(original.sides.key)
            fence.current.reset(fenced)
            tasks.refusal.reset(refusal)
            tried.end()
