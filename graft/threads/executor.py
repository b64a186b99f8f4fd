"""The legacy threads as native routes use them: for hooks, sessions, error pages, ``legacy.run``; with a timeout."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from graft.errors import GraftError
from graft.request_record import is_mirrored
from graft.threads.pool import Pool
from graft.threads.scheduler import Job
from graft.threads.worker import whereabouts, worker_job
from graft.types import Scope

log = logging.getLogger("graft.legacy")

T = TypeVar("T")

# As many threads as it takes: none of these hops may wait for a first one.
LATER_THREADS = 256
MIRROR_THREADS = 4
NO_LIMIT = 1_000_000


class LegacyTimeout(GraftError):
    """Code of the legacy app was given up after GRAFT_LEGACY_TIMEOUT. Its thread counts as stuck until it is back."""


class Threads:
    """``pool`` answers legacy requests too; mirrored native runs have other threads, so as to stand in no user's way.

    ``later`` are for the second and later hops of a request. ``timeout`` seconds for each hop; None is no limit.
    """

    def __init__(self, pool: Pool, timeout: float | None = None) -> None:
        self.timeout = timeout
        self._first = {False: pool, True: Pool(MIRROR_THREADS, NO_LIMIT, f"{pool.name}-mirror")}
        self._later = {
            mirror: Pool(LATER_THREADS, NO_LIMIT, f"{first.name}-again") for mirror, first in self._first.items()
        }

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
        hop = Hop(scope, what)
        try:
            async with asyncio.timeout(self.timeout) as timer:
                return await self.first(scope).run(hop.run, fn, *args)
        except TimeoutError:
            if not timer.expired():
                raise
            raise hop.give_up(self.timeout) from None


class Hop:
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
        self._job = worker_job()
        try:
            if self._given_up:
                raise LegacyTimeout
            return fn(*args)
        finally:
            self._job = None

    def give_up(self, timeout: float | None) -> LegacyTimeout:
        """What to raise. A thread that is inside can't be stopped: it counts as stuck until it is back."""
        self._given_up = True  # first this, then the look: a thread that comes now sees it, or is seen
        job, name = self._job, f"{self._what} of {self._scope.get('method', 'WebSocket')} {self._scope['path']!r}"
        if job is None:
            log.error("%s found no free thread within %s s", name, timeout)
        else:
            job.overdue = True
            log.error("%s gave no answer within %s s; %s", name, timeout, whereabouts(self._thread))
        return too_late(timeout)


def too_late(timeout: float | None) -> LegacyTimeout:
    return LegacyTimeout(f"The application gave no answer within {timeout:g} seconds.")


def name_of(fn: Any) -> str:
    """``module.function``."""
    inner = getattr(fn, "func", fn)
    return f"{getattr(inner, '__module__', None)}.{getattr(inner, '__qualname__', type(inner).__name__)}"
