"""Legacy code called from native routes: for hooks, sessions, error pages, ``legacy.run``; with a timeout."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from graft.errors import GraftError
from graft.request_record import RequestRecord, is_mirrored
from graft.threads.pool import Pool, PoolFull
from graft.threads.scheduler import Job
from graft.threads.work_timeout import Upload, WorkTimeout
from graft.threads.worker import current_job, describe_thread
from graft.types import Scope

log = logging.getLogger("graft.legacy")

T = TypeVar("T")

# Streams of native routes that keep a thread to their end. Half of what a pool may have above its limit: with more of
# them no thread would be left for anybody else.
STREAMS = 256
# As many threads as it takes: none of these calls may wait for a first one.
LATER_THREADS = 256
MIRROR_THREADS = 4
NO_LIMIT = 1_000_000


class LegacyTimeout(GraftError):
    """Code of the legacy app was given up after GRAFT_LEGACY_TIMEOUT. Its thread counts as stuck until it is back."""


class LegacyExecutor:
    """Runs functions of the legacy side in worker threads, for native requests. Called on the loop.

    ``pool`` answers legacy requests too; mirrored native runs have other threads, so that no user waits for them.
    ``later`` is the pool for the second and later calls of a request: it holds a context that others may wait for, so
    it must never wait for a thread itself. ``timeout`` seconds for each call; None is no limit.
    """

    def __init__(self, pool: Pool, timeout: float | None = None) -> None:
        self.timeout = timeout
        self._first = {False: pool, True: Pool(MIRROR_THREADS, NO_LIMIT, f"{pool.name}-mirror")}
        self._later = {
            mirror: Pool(LATER_THREADS, NO_LIMIT, f"{first.name}-again", stand_in=first)
            for mirror, first in self._first.items()
        }
        self.streams = 0

    def admit_stream(self) -> bool:
        """Whether one more stream may keep a thread; then ``count_stream_out`` says when it has ended."""
        if self.streams >= STREAMS:
            return False
        self.streams += 1
        return True

    def count_stream_out(self) -> None:
        self.streams -= 1

    @property
    def pools(self) -> tuple[Pool, ...]:
        return (*self._first.values(), *self._later.values())

    def first(self, scope: Scope) -> Pool:
        return self._first[is_mirrored(scope)]

    def later(self, scope: Scope) -> Pool:
        return self._later[is_mirrored(scope)]

    async def run(self, scope: Scope, what: str, fn: Callable[..., T], *args: Any) -> T:
        """``fn(*args)`` in a first thread. Raises PoolFull, LegacyTimeout, and what ``fn`` does. ``what`` it is, for
        the log."""
        return await self._run(self.first(scope), scope, what, fn, *args)

    async def run_later(self, scope: Scope, what: str, fn: Callable[..., T], *args: Any) -> T:
        """``run`` for what ends a request that has done something already: it is never refused for want of a thread."""
        return await self._run(self.later(scope), scope, what, fn, *args)

    async def run_anyway(self, scope: Scope, what: str, fn: Callable[..., T], *args: Any) -> T:
        """``run``, or ``run_later`` where no place is left: for requests that may have written something by now."""
        try:
            return await self.run(scope, what, fn, *args)
        except PoolFull:
            return await self.run_later(scope, what, fn, *args)

    async def _run(self, pool: Pool, scope: Scope, what: str, fn: Callable[..., T], *args: Any) -> T:
        call = TimedCall(scope, what)
        try:
            async with WorkTimeout(self.timeout, upload_of(scope)) as timer:
                return await pool.run(call.run, fn, *args)
        except TimeoutError:
            if not timer.expired():
                raise
            raise call.give_up(self.timeout) from None


class TimedCall:
    """One call in a thread for the request of ``scope``. ``what`` it is, for the log."""

    def __init__(self, scope: Scope, what: str) -> None:
        self._scope = scope
        self._what = what
        self._given_up = False
        self._job: Job | None = None
        self._thread = 0

    @property
    def stuck(self) -> bool:
        """Whether it was given up, and a thread is still inside."""
        return self._given_up and self._job is not None

    def run(self, fn: Callable[..., T], *args: Any) -> T:
        """``fn(*args)``, in the thread. Once it was given up it does not begin any more."""
        self._thread = get_ident()
        self._job = current_job()
        try:
            if self._given_up:
                raise LegacyTimeout
            return fn(*args)
        finally:
            self._job = None

    def give_up(self, timeout: float | None) -> LegacyTimeout:
        """What to raise. A thread that is inside can't be stopped: it counts as stuck until it is back."""
        # First the flag, then the look at the job; the thread sets its job first and then looks at the flag. So one
        # that comes now sees the flag and does not begin, or its job is seen here and marked: never neither.
        self._given_up = True
        job, name = self._job, f"{self._what} of {self._scope.get('method', 'WebSocket')} {self._scope['path']!r}"
        if job is None:
            log.error("%s found no free thread within %s s", name, timeout)
        else:
            job.overdue = True
            log.error("%s gave no answer within %s s; %s", name, timeout, describe_thread(self._thread))
        return timeout_error(timeout)


def upload_of(scope: Scope) -> Upload | None:
    """The body of this request, where one is being received."""
    body: Upload | None = RequestRecord.of(scope).body
    return body


def timeout_error(timeout: float | None) -> LegacyTimeout:
    return LegacyTimeout(f"The application gave no answer within {timeout:g} seconds.")


def name_of(fn: Any) -> str:
    """``module.function``."""
    inner = getattr(fn, "func", fn)
    return f"{getattr(inner, '__module__', None)}.{getattr(inner, '__qualname__', type(inner).__name__)}"
