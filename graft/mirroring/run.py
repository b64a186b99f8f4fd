"""One mirrored run: the same request on the other side, up to the last byte of its answer. (event loop)"""

from __future__ import annotations

import asyncio
import time

from graft.mirroring.answers import Answer, KeptAnswer, copied_scope, receive_of
from graft.mirroring.deadlines import Deadlines
from graft.mirroring.failures import failure_of
from graft.mirroring.fence import Tried
from graft.mirroring.observation import NOT_MODIFIED
from graft.mirroring.original import Original
from graft.request_record import KEY, RequestRecord
from graft.types import MIRRORED, Message, Scope, Side

_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since"})


class _Answered(Exception):
    """Ends a native run at the last byte of its answer: background tasks come after that, and must not start."""


class MirroredRun:
    """One mirrored run of a request on one side. ``is_overdue`` says afterwards whether its deadline has passed."""

    __slots__ = ("_deadlines", "_kept", "_original", "_side", "_tried", "is_overdue")

    def __init__(self, original: Original, side: Side, largest: int, deadlines: Deadlines, tried: Tried) -> None:
        self._original = original
        self._side = side
        self._deadlines = deadlines
        self._tried = tried
        self._kept = KeptAnswer(largest)
        self.is_overdue = False

    async def __call__(self) -> Answer | str:
        scope, receive = self._scope(), receive_of(self._original.body)
        sides = self._original.sides
        started = time.perf_counter()
        error: Exception | None = None
        deadline = self._deadlines.begin()
        try:
            try:
                await sides.app(self._side)(scope, receive, self._send)
            except _Answered:
                raise
            except Exception as raised:
                if self._side is not Side.NATIVE or self._kept.status:
                    raise
                self._tried.raised = raised
                await sides.handlers.answer(raised, scope, receive, self._send)
        except _Answered:
            pass
        except asyncio.CancelledError:
            if not self._deadlines.end(deadline):
                raise
            self._tried.raised = error = TimeoutError()
        except Exception as raised:
            self._tried.raised = error = raised
        finally:
            self._deadlines.end(deadline)
        self.is_overdue = deadline.expired
        return self._answer(error, started)

    def _answer(self, error: Exception | None, started: float) -> Answer | str:
        kept = self._kept
        if kept.unkept:
            return kept.unkept
        if kept.complete:
            fault = self._tried.raised if kept.status >= 500 else None
            return kept.answer(self._side, started, failure_of(fault, self._deadlines.seconds) if fault else None)
        if self._side is Side.LEGACY:
            return "deadline" if isinstance(error, TimeoutError) else "error"
        return kept.failed(self._side, started, failure_of(error, self._deadlines.seconds))

    def _scope(self) -> Scope:
        scope = copied_scope(self._original.scope)
        scope[KEY] = RequestRecord.mirrored(self._side)
        scope[MIRRORED] = True
        if self._original.status not in (NOT_MODIFIED, 412):  # entity tags are each side's own
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _CONDITIONS]
        return scope

    async def _send(self, message: Message) -> None:
        self._kept.keep(message)
        if self._side is Side.NATIVE and (self._kept.complete or self._kept.unkept):
            raise _Answered
