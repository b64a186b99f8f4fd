"""The mirror: the same request once more on the other side, when the user has the answer.

Nothing here is on the user's path but keeping the answer that goes by. What is kept waits in a queue that is bounded in
number and in bytes, and is dropped, and counted, when that is full. A few workers take it from there; the legacy side
has threads of its own for it. Both answers are compared, the route's noise is learned, and what differs is kept.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import traceback
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from graft import tasks
from graft.figures.recorder import RECORDER, Recorder
from graft.mirroring import fence
from graft.mirroring.answers import Answer, KeptAnswer, KeptBody, copied_scope, has_body, receive_of
from graft.mirroring.cancellation import cancel_and_wait
from graft.mirroring.compare import Comparison, Difference, compare
from graft.mirroring.fence import Tried, guarded_state
from graft.mirroring.noise import Noise
from graft.operations.switches import READING_METHODS, Switch
from graft.request_record import KEY, RequestRecord
from graft.routing.handlers import Handlers
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

LARGE = 32 * 1024
"""Bytes from which two bodies are compared on a thread, so that the event loop goes on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides of one route, as a mirrored request meets them: ``legacy`` has threads of its own."""

    key: RouteKey
    native: ASGIApp
    legacy: ASGIApp
    handlers: Handlers

    def app(self, side: Side) -> ASGIApp:
        return self.native if side is Side.NATIVE else self.legacy


class Original:
    """One request while it is answered: ``receive`` and ``send`` are handed to the side that answers."""

    __slots__ = ("_asked", "_body", "_kept", "context", "receive", "scope", "send", "sides", "started", "switch")

    def __init__(self, sides: Sides, switch: Switch, scope: Scope, receive: Receive, send: Send, largest: int) -> None:
        self.sides = sides
        self.switch = switch
        self.scope = copied_scope(scope)
        self.context = contextvars.copy_context()
        self.started = time.perf_counter()
        self._body = KeptBody(receive, largest) if has_body(scope) else None
        self._kept = KeptAnswer(send, largest)
        self.receive: Receive = self._body or receive
        self.send: Send = self._kept

    @property
    def unfit(self) -> str | None:
        """Why it can't be run again: a reason that ``Recorder.skipped`` knows."""
        if self._kept.unkept:
            return self._kept.unkept
        if not self._kept.complete:
            return "cut off"
        if self._body is None or (self._body.complete and not self._body.overflowed):
            return None
        return "upload" if self._body.overflowed else "unread"

    @property
    def body(self) -> bytes:
        return self._body.body if self._body is not None else b""

    @property
    def size(self) -> int:
        return len(self.body) + len(self._kept.body)

    def answer(self, side: Side) -> Answer:
        return self._kept.answer(side, self.started)


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
class _Job:
    original: Original
    side: Side
    size: int


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
    ) -> None:
        """``at_once`` requests run on the other side, ``waiting`` more wait; one with a body or an answer of more than
        ``largest`` bytes is skipped; the other side has ``deadline`` seconds."""
        self.noise = Noise()
        self._recorder = recorder or RECORDER
        self._keeper = keeper
        self._at_once = at_once
        self._waiting = waiting
        self._room = waiting_bytes
        self._largest = largest
        self._deadline = deadline
        self._jobs: deque[_Job] = deque()
        self._ready = asyncio.Semaphore(0)
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Mirror:
        self._workers = [asyncio.create_task(self._work(), name="graft-mirror") for _ in range(self._at_once)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancel_and_wait(self._workers)
        self._workers.clear()
        while self._jobs:
            self._recorder.skipped(self._take().original.sides.key, "dropped")

    def keep_in(self, keeper: Keeper) -> None:
        """Where differences go from now on."""
        self._keeper = keeper

    def original(self, sides: Sides, switch: Switch, scope: Scope, receive: Receive, send: Send) -> Original | None:
        """What keeps this request while it is answered; None, and counted as skipped, if it is not for the mirror."""
        if _is_upload(scope, self._largest):
            self._recorder.skipped(sides.key, "upload")
            return None
        return Original(sides, switch, scope, receive, send, self._largest)

    def take(self, original: Original, side: Side) -> None:
        """Have the answered request run on the other side, soon. Returns at once."""
        if side is Side.FALLBACK:  # the other side has failed just now
            return
        reason = original.unfit
        size = original.size
        if reason is None and (len(self._jobs) >= self._waiting or size > self._room or not self._workers):
            reason = "dropped"
        if reason is not None:
            self._recorder.skipped(original.sides.key, reason)
            return
        self._room -= size
        self._jobs.append(_Job(original, side, size))
        self._ready.release()

    def _take(self) -> _Job:
        job = self._jobs.popleft()
        self._room += job.size
        return job

    async def _work(self) -> None:
        while True:
            await self._ready.acquire()
            await self._do(self._take())

    async def _do(self, job: _Job) -> None:
        try:
            await self._mirror(job.original, job.side)
        except Exception:
            self._recorder.failed(job.original.sides.key, "error")
            logger.exception("%s could not be mirrored", job.original.sides.key)

    async def _mirror(self, original: Original, side: Side) -> None:
        key = original.sides.key
        other = Side.LEGACY if side is Side.NATIVE else Side.NATIVE
        answer = original.answer(side)
        tried = Tried(other)
        again = await self._ask(original, other, tried)
        if isinstance(again, str):
            (self._recorder.skipped if again in ("large", "stream") else self._recorder.failed)(key, again)
            return
        self._recorder.mirrored(key, other, again.latency_ms / 1000)
        if tried.note is not None:
            self._recorder.failed(key, "not comparable")
            await self._keep(original, side, answer, again, (), tried.note)
            return
        differences = await self._differences(original, side, answer, again)
        self._recorder.compared(key, not differences)
        if differences:
            await self._keep(original, side, answer, again, differences, None)

    async def _differences(
        self, original: Original, side: Side, answer: Answer, other: Answer
    ) -> tuple[Difference, ...]:
        """Where the two differ, apart from noise. For a sample the answering side is asked once more."""
        key = original.sides.key
        comparison = Comparison.of(original.switch)
        differences = self.noise.without(key, await _compared(answer, other, comparison))
        if key.method not in READING_METHODS or not self.noise.wants_sample(key, differences):
            return differences
        second = await self._ask(original, side, Tried(side))
        if isinstance(second, str):
            return differences
        with_itself = await _compared(answer, second, comparison)
        if not with_itself:
            self.noise.learn(key, (), differences)
            return differences
        with_other = await _compared(second, other, comparison)
        new = self.noise.learn(key, with_itself, with_other)
        if new and self._keeper is not None:
            await self._keeper.learned(key, new)
        return self.noise.without(key, with_other)

    async def _ask(self, original: Original, side: Side, tried: Tried) -> Answer | str:
        """The answer of ``side`` to a copy of the request, or why there is none, as ``Recorder.failed`` has it.

        It runs in the context of the user's request, so that its log lines have the same id.
        """
        context = original.context.copy()
        context.run(tasks.refusal.set, tried.refuse)
        context.run(fence.current.set, tried)
        return await asyncio.create_task(_Run(original, side, self._largest, self._deadline)(), context=context)

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


async def _compared(one: Answer, other: Answer, comparison: Comparison) -> tuple[Difference, ...]:
    native, legacy = (one, other) if other.side is Side.LEGACY else (other, one)
    if len(one.body) + len(other.body) < LARGE:
        return compare(native, legacy, comparison)
    return await asyncio.to_thread(compare, native, legacy, comparison)


def _is_upload(scope: Scope, largest: int) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-length" and not (value.isdigit() and int(value) <= largest):
            return True
        if name == b"content-type" and value.lower().startswith(b"multipart/"):
            return True
    return False


class _Answered(Exception):
    """Ends a native run at the last byte of its answer: background tasks come after that, and must not start."""


class _Run:
    """One mirrored run of a request on one side."""

    __slots__ = ("_deadline", "_kept", "_original", "_side")

    def __init__(self, original: Original, side: Side, largest: int, deadline: float) -> None:
        self._original = original
        self._side = side
        self._deadline = deadline
        self._kept = KeptAnswer(None, largest)

    async def __call__(self) -> Answer | str:
        scope, receive = self._scope(), receive_of(self._original.body)
        sides = self._original.sides
        started = time.perf_counter()
        error: Exception | None = None
        try:
            async with asyncio.timeout(self._deadline):
                try:
                    await sides.app(self._side)(scope, receive, self._send)
                except _Answered:
                    raise
                except Exception as raised:
                    if self._side is not Side.NATIVE or self._kept.status:
                        raise
                    await sides.handlers.answer(raised, scope, receive, self._send)
        except Exception as raised:
            error = raised
        return self._answer(error, started)

    def _answer(self, error: Exception | None, started: float) -> Answer | str:
        if self._kept.complete:
            return self._kept.unkept or self._kept.answer(self._side, started)
        if self._side is Side.LEGACY or self._kept.unkept:
            return self._kept.unkept or ("deadline" if isinstance(error, TimeoutError) else "error")
        return self._kept.failed(self._side, started, _traced(error))

    def _scope(self) -> Scope:
        scope = copied_scope(self._original.scope)
        scope[KEY] = RequestRecord.mirrored(self._side)
        if "state" in scope:
            scope["state"] = guarded_state(scope["state"])
        return scope

    async def _send(self, message: Message) -> None:
        await self._kept(message)
        if self._side is Side.NATIVE and (self._kept.complete or self._kept.unkept):
            raise _Answered


def _traced(error: Exception | None) -> str:
    return "".join(traceback.format_exception(error)) if error is not None else "The route returned without an answer."
