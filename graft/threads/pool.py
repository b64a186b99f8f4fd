"""Worker threads for code that blocks: one switch there, one back, a bounded queue in front, shedding above it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from graft.errors import GraftError
from graft.threads.scheduler import Job, Scheduler
from graft.threads.worker_threads import WorkerThreads

log = logging.getLogger("graft.legacy")

T = TypeVar("T")

QUIET = 60.0
"""Seconds between two lines that say how many jobs were refused."""


class PoolFull(GraftError):
    """Every thread is busy and the queue is full, or there is no thread and the system gives none."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A moment of a pool: ``stuck`` threads work for a request that was given up; ``parked`` ones wait on the loop."""

    threads: int
    busy: int
    waiting: int
    shed: int
    stuck: int
    parked: int


class Pool:
    """At most ``threads`` threads at work and ``queue`` jobs waiting, in this process.

    Threads start when they are first needed, so a pool may be made before a fork. ``close`` ends them after their
    jobs; a job that comes later starts new ones. A thread that is parked, waiting for a coroutine on a loop, makes room
    for another one, up to ``ceiling`` threads in all (512 above ``threads`` unless said). A pool that gets no thread
    from the system hands its jobs to ``stand_in``, if it has one. ``mend`` is what a person may do about refused jobs:
    with it the first is logged, and then how many there were, once a minute.
    """

    def __init__(
        self,
        threads: int = 16,
        queue: int = 64,
        name: str = "pool",
        *,
        ceiling: int | None = None,
        stand_in: Pool | None = None,
        mend: str = "",
    ) -> None:
        self.threads = threads
        self.queue = queue
        self.name = name
        self.ceiling = max(ceiling if ceiling is not None else threads + 512, threads)
        self.mend = mend
        self._stand_in = stand_in
        self._shed = 0
        self._told: tuple[float, int] | None = None  # when of how many
        self._workers: WorkerThreads | None = None
        self._scheduler: Scheduler | None = None
        _pools.add(self)

    def scheduler(self) -> Scheduler:
        """Where jobs for the running loop announce that they have ended."""
        loop = asyncio.get_running_loop()
        scheduler = self._scheduler
        if scheduler is None or scheduler.loop is not loop:
            scheduler = self._scheduler = Scheduler(loop)
        return scheduler

    @property
    def full(self) -> bool:
        """Whether the next job would be refused."""
        workers = self._workers
        if workers is None:
            return False
        waiting = workers.waiting
        return waiting >= self.queue and waiting >= self.queue + workers.free()

    def admit(self) -> None:
        """Raise PoolFull, and count what is shed, when the next job would find no place."""
        if self.full:
            raise self._refusal(f"{self.threads} threads are busy and {self.queue} requests wait")

    def submit(self, job: Job) -> None:
        """Hand a job over, from the loop. Raises PoolFull."""
        self.admit()
        workers = self._workers or self._start_workers()
        workers.jobs.append(job)
        job.scheduler.watch_threads(workers)
        if workers.is_moving():
            job.scheduler.check_queue_soon(workers)
        elif not workers.wake_one():
            # Threads are started for jobs alone, and jobs come from this loop alone: where there is none, none comes.
            if workers.all or not self.discard(job):
                job.must_wait()
            elif self._stand_in is not None:
                self._stand_in.submit(job)
            else:
                raise self._refusal("the system gives no thread")

    def discard(self, job: Job) -> bool:
        """Take a job out of the queue. False when a thread has already begun it (or ended it)."""
        workers = self._workers
        for queue in (workers.jobs, workers.slow_queue.jobs) if workers is not None else ():
            try:
                queue.remove(job)
            except (ValueError, IndexError):
                continue
            return True
        return self._stand_in is not None and self._stand_in.discard(job)

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn(*args)`` in a thread, with the caller's ContextVars copied. Raises PoolFull, and what fn raises.

        A cancelled caller leaves at once: a call that waits is dropped, one that runs is left to end on its own.
        """
        call = PoolCall(fn, args, self.scheduler())
        self.submit(call)
        try:
            return await call.future  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            self.discard(call)
            raise

    def stats(self) -> PoolStats:
        workers = self._workers
        if workers is None:
            return PoolStats(threads=0, busy=0, waiting=0, shed=self._shed, stuck=0, parked=0)
        everyone = list(workers.all)
        jobs = [worker.job for worker in everyone]
        parked = workers.parked
        return PoolStats(
            threads=len(everyone),
            busy=sum(job is not None for job in jobs) - parked,
            waiting=workers.waiting,
            shed=self._shed,
            stuck=sum(job is not None and job.overdue for job in jobs),
            parked=parked,
        )

    def stuck_threads(self) -> list[int]:
        """Those that work for a request that was given up, as ``threading.get_ident`` has them."""
        everyone = list(self._workers.all) if self._workers is not None else []
        stuck = [worker.thread for worker in everyone if (job := worker.job) is not None and job.overdue]
        return [thread.ident for thread in stuck if thread.ident is not None]

    def close(self, timeout: float | None = None) -> bool:
        """End the threads after their jobs and those that wait. False when some still work after ``timeout`` seconds.

        Don't call it on a loop that answers requests: they would wait for each other. Use ``aclose`` there.
        """
        workers, self._workers = self._workers, None
        if workers is None:
            return True
        workers.stop()
        return workers.join(timeout)

    async def aclose(self, timeout: float | None = None) -> bool:
        """``close``, while the loop goes on."""
        if self._workers is None:
            return True
        return await asyncio.get_running_loop().run_in_executor(None, self.close, timeout)

    def _start_workers(self) -> WorkerThreads:
        workers = self._workers = WorkerThreads(self.threads, self.ceiling, self.name)
        # The threads refer to their WorkerThreads, not to the pool: a pool that is dropped unclosed ends its threads.
        weakref.finalize(self, workers.stop)
        return workers

    def _refusal(self, why: str) -> PoolFull:
        self._shed += 1
        now = monotonic()
        if self.mend and (self._told is None or now - self._told[0] > QUIET):
            count = self._shed - (self._told[1] if self._told is not None else 0)
            self._told = now, self._shed
            log.warning("%d requests refused for want of a thread: %s. %s", count, why, self.mend)
        return PoolFull(f"{self.name}: {why}")

    def _forget(self) -> None:
        self._workers = self._scheduler = None


class PoolCall(Job):
    """One call whose caller waits on the loop. ``dropped``: nobody does any more, and it need not begin."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self.fn = fn
        self.args = args
        self.future: asyncio.Future[Any] = scheduler.loop.create_future()
        self.context = contextvars.copy_context()
        self.dropped = False
        self.value: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.value = self.context.run(self.fn, *self.args)
        except StopIteration as error:
            self.error = _carried(error)
        except Exception as error:
            self.error = error
        except BaseException as error:
            self.error = _carried(error)
        self.scheduler.post(self._settle)

    def _settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)
        self.error = None


def _carried(error: BaseException) -> RuntimeError:
    """An error that a future can carry, and that does not end the loop, for one that can't or would."""
    carried = RuntimeError(f"{type(error).__name__} in a worker thread: {error}")
    carried.__cause__ = error
    return carried


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_threads() -> None:
    for pool in list(_pools):
        pool._forget()


# A forked child has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
