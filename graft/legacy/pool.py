"""Worker threads for code that blocks: one hop there, one hop back, a bounded queue in front, shedding above it.

A thread is woken only when no awake thread takes the next job: one "hot" thread that drains the queue is faster than
sixteen that fight over the GIL. A job that blocks (I/O, sleep, a lock) lets the loop run, the loop sees that the queue
does not move, and calls the next thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeVar

from graft.errors import GraftError
from graft.legacy.hogs import ABREAST, HOG, INTERVAL_OF_PROCESS, Hogs

log = logging.getLogger("graft.legacy")

T = TypeVar("T")

# How long a thread that is at work may take, in seconds, before it counts as blocked and another one is called.
PATIENCE = 0.001
# How often the threads at work are watched for hogs, in seconds.
TICK = 0.02
# Threads above the limit, made while others were parked, go home after so many idle seconds.
LINGER = 10.0


class PoolFull(GraftError):
    """Every thread is busy and the queue is full."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A moment of a pool: ``stuck`` threads work for a request that was given up; ``parked`` ones wait on the loop."""

    threads: int
    busy: int
    waiting: int
    shed: int
    stuck: int
    parked: int


class Crossed(Protocol):
    """Work of a job that goes on on a loop, while its thread waits parked."""

    done: bool

    def cancel(self) -> None: ...


class Job:
    """What a pool runs, for the loop whose ``desk`` it came from. ``overdue``: its caller has given up on it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.overdue = False

    def run(self) -> None:
        """Do the work, in a worker thread; must not raise."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """What jobs that do the same have in common; empty when there is nothing to learn from it."""
        return ""

    def crossed(self, work: Crossed) -> None:
        """Be told, on the loop, that the job now waits for a coroutine."""


class Pool:
    """At most ``threads`` threads at work and ``queue`` jobs waiting, in this process.

    Threads start when they are first needed, so a pool may be made before a fork. ``close`` ends them after their
    jobs; a job that comes later starts new ones. A thread that is parked, waiting for a coroutine on a loop, makes room
    for another one, up to ``ceiling`` threads in all (512 above ``threads`` unless said).
    """

    def __init__(self, threads: int = 16, queue: int = 64, name: str = "pool", *, ceiling: int | None = None) -> None:
        self.threads = threads
        self.queue = queue
        self.name = name
        self.ceiling = max(ceiling if ceiling is not None else threads + 512, threads)
        self._shed = 0
        self._crew: _Crew | None = None
        self._desk: Desk | None = None
        _pools.add(self)

    def desk(self) -> Desk:
        """The place of the running loop where finished jobs are announced."""
        loop = asyncio.get_running_loop()
        desk = self._desk
        if desk is None or desk.loop is not loop:
            desk = self._desk = Desk(loop)
        return desk

    @property
    def full(self) -> bool:
        """Whether the next job would be refused."""
        crew = self._crew
        if crew is None:
            return False
        waiting = crew.waiting
        return waiting >= self.queue and waiting >= self.queue + crew.free()

    def admit(self) -> None:
        """Raise PoolFull, and count what is shed, when the next job would find no place."""
        if self.full:
            self._shed += 1
            raise PoolFull(f"{self.name}: {self.threads} threads are busy and {self.queue} requests wait")

    def submit(self, job: Job) -> None:
        """Hand a job over, from the loop. Raises PoolFull."""
        self.admit()
        crew = self._crew or self._hire()
        crew.jobs.append(job)
        job.desk.watch(crew)
        if crew.is_moving():
            job.desk.look_out(crew)
        else:
            crew.call_one()

    def discard(self, job: Job) -> bool:
        """Take a job out of the queue. False when a thread has already begun it (or ended it)."""
        crew = self._crew
        if crew is None:
            return False
        for line in (crew.jobs, crew.slow):
            try:
                line.remove(job)
            except (ValueError, IndexError):
                continue
            return True
        return False

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn(*args)`` in a thread, with the caller's ContextVars copied. Raises PoolFull, and what fn raises.

        A cancelled caller leaves at once: a call that waits is dropped, one that runs is left to end on its own.
        """
        call = _Call(fn, args, self.desk())
        self.submit(call)
        try:
            return await call.future  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            self.discard(call)
            raise

    def stats(self) -> PoolStats:
        crew = self._crew
        if crew is None:
            return PoolStats(threads=0, busy=0, waiting=0, shed=self._shed, stuck=0, parked=0)
        workers = list(crew.workers)
        jobs = [worker.job for worker in workers]
        parked = sum(worker.parked for worker in workers)
        return PoolStats(
            threads=len(workers),
            busy=sum(job is not None for job in jobs) - parked,
            waiting=crew.waiting,
            shed=self._shed,
            stuck=sum(job is not None and job.overdue for job in jobs),
            parked=parked,
        )

    def close(self, timeout: float | None = None) -> bool:
        """End the threads after their jobs and those that wait. False when some still work after ``timeout`` seconds.

        Don't call it on a loop that answers requests: they would wait for each other. Use ``aclose`` there.
        """
        crew, self._crew = self._crew, None
        if crew is None:
            return True
        crew.dismiss()
        return crew.join(timeout)

    async def aclose(self, timeout: float | None = None) -> bool:
        """``close``, while the loop goes on."""
        if self._crew is None:
            return True
        return await asyncio.get_running_loop().run_in_executor(None, self.close, timeout)

    def _hire(self) -> _Crew:
        crew = self._crew = _Crew(self.threads, self.ceiling, self.name)
        # The threads know the crew, not the pool: a pool that is dropped unclosed sends its idle threads home.
        weakref.finalize(self, crew.dismiss)
        return crew

    def _forget(self) -> None:
        self._crew = self._desk = None


class _Worker:
    """One thread. Only the thread itself writes ``job``, ``began`` and ``parked``, and ends ``called``.

    ``watched`` is the job that the loop has an eye on, ``clock`` the thread's CPU time when it began to.
    """

    __slots__ = (
        "after_slow",
        "began",
        "called",
        "clock",
        "clock_id",
        "crew",
        "job",
        "parked",
        "thread",
        "wake",
        "watched",
    )

    def __init__(self, crew: _Crew, number: int) -> None:
        self.crew = crew
        self.job: Job | None = None
        self.began = 0.0
        self.called = True
        self.parked = False
        self.after_slow = False
        self.watched: Job | None = None
        self.clock = 0.0
        self.clock_id: int | None = None
        self.wake = threading.Lock()
        self.wake.acquire()
        self.thread = threading.Thread(target=crew.work, args=(self,), name=f"{crew.name}-{number}", daemon=True)

    def burned(self) -> float:
        """How much CPU time the watched job has taken since it is watched, in seconds."""
        return self.cpu_time() - self.clock

    def cpu_time(self) -> float:
        """The CPU time of the thread, in seconds; 0.0 where the system does not tell, or the thread has ended."""
        try:
            return 0.0 if self.clock_id is None else time.clock_gettime(self.clock_id)
        except OSError:
            return 0.0


class _Crew:
    """The threads of one pool in one process, from the first job to ``dismiss``.

    ``jobs`` and ``idle`` are deques, whose single operations are atomic. A worker announces itself in ``idle`` before
    it looks into ``jobs`` a last time, a submitter appends to ``jobs`` before it looks into ``idle``: no job is
    overlooked.
    """

    def __init__(self, threads: int, ceiling: int, name: str) -> None:
        self.threads = threads
        self.ceiling = ceiling
        self.name = name
        self.jobs: deque[Job] = deque()
        self.slow: deque[Job] = deque()  # jobs of kinds that burn: they go in beside each other only so far
        self.abreast: set[Job] = set()
        self.hogs = Hogs()
        self.burning = 0  # how many did when the loop last looked
        self.idle: deque[_Worker] = deque()
        self.workers: list[_Worker] = []
        self.woken: _Worker | None = None
        self.taken = 0.0  # when a job was last begun
        self.typical = 0.0  # how long a job takes, as a moving average in seconds
        self.dismissed = False
        self.hiring = threading.Lock()
        self.hired = 0

    @property
    def waiting(self) -> int:
        return len(self.jobs) + len(self.slow)

    def has_work(self) -> bool:
        """Whether a job waits that another worker may take."""
        return bool(self.jobs) or (bool(self.slow) and len(self.abreast) < ABREAST)

    def free(self) -> int:
        """How many more jobs the threads could begin at once."""
        workers = list(self.workers)
        taken = sum(worker.job is not None for worker in workers)
        waiting_for_a_loop = sum(worker.parked for worker in workers)
        return min(self.threads - taken + waiting_for_a_loop, self.ceiling - taken)

    def call_one(self) -> bool:
        """Wake the worker that slept last, or hire one. False when all that may work do."""
        try:
            worker = self.idle.pop()
        except IndexError:
            return self._hire_one()
        worker.called = True
        self.woken = worker
        worker.wake.release()
        return True

    def call_if_waiting(self) -> None:
        if self.has_work():
            self.call_one()

    def is_moving(self) -> bool:
        """Whether a thread that is awake may be expected to take the next job soon."""
        if len(self.idle) == len(self.workers) or self.typical > PATIENCE:
            return False
        return monotonic() - self.taken < PATIENCE or self._on_the_way()

    def _on_the_way(self) -> bool:
        """Whether a worker has been woken that has not yet begun."""
        return self.woken is not None and self.woken.called

    def work(self, worker: _Worker) -> None:
        """The life of a thread."""
        _here.worker = worker
        if hasattr(time, "pthread_getcpuclockid"):  # asked by the thread itself: of a dead one it may crash
            worker.clock_id = time.pthread_getcpuclockid(threading.get_ident())
        worker.called = False
        while True:
            try:
                job = self._take(worker) if self.slow or self.hogs else self.jobs.popleft()
            except IndexError:
                if self._rest(worker):
                    continue
                return
            worker.job = job
            self.taken = worker.began = monotonic()
            try:
                job.run()
            except BaseException:
                log.critical("a job of the pool %s broke", self.name, exc_info=True)
            if job.overdue:
                log.warning("the thread %s is back from a request that was given up", worker.thread.name)
            took = monotonic() - worker.began
            self.typical += (took - self.typical) / 16
            if job in self.abreast or worker.watched is not None:
                self._judge(worker, job, took)
            worker.job = job = None  # type: ignore[assignment]

    def _take(self, worker: _Worker) -> Job:
        """The next job while hogs are about: one of them when there is room, but not two in a row while others wait."""
        self._sort_out_hogs()
        if not (worker.after_slow and self.jobs):
            job = self._take_slow()
            if job is not None:
                worker.after_slow = True
                return job
        worker.after_slow = False
        return self.jobs.popleft()

    def _sort_out_hogs(self) -> None:
        """Move the hogs at the head of the queue to their own line."""
        while self.jobs and self.hogs:
            try:
                job = self.jobs.popleft()
            except IndexError:  # another worker was quicker
                return
            if job.kind not in self.hogs:
                self.jobs.appendleft(job)
                return
            self.slow.append(job)

    def _take_slow(self) -> Job | None:
        with self.hiring:
            if not self.slow or len(self.abreast) >= ABREAST:
                return None
            job = self.slow.popleft()
            self.abreast.add(job)
            return job

    def _judge(self, worker: _Worker, job: Job, took: float) -> None:
        """Learn from a job that has ended. One that went abreast made room for the next."""
        burned = worker.burned() if worker.watched is job else 0.0
        worker.watched = None
        if job in self.abreast:
            self.hogs.judge(job.kind, burned, took / max(self.burning, 1))
            with self.hiring:
                self.abreast.discard(job)
            self.call_if_waiting()

    def hog_count(self) -> int:
        """How many workers burn. Called on the loop, now and then: looks only at jobs that take long."""
        now = monotonic()
        hogs = 0
        for worker in list(self.workers):
            job = worker.job
            if job is None or worker.parked or now - worker.began < TICK:
                continue
            if worker.watched is not job:
                worker.clock = worker.cpu_time()
                worker.watched = job
            elif worker.burned() > HOG:
                hogs += 1
                self.hogs.suspect(job.kind)
        self.burning = hogs
        return hogs

    def at_work(self) -> bool:
        return any(worker.job is not None for worker in list(self.workers))

    def dismiss(self) -> None:
        """Let every thread go home once no job waits."""
        self.dismissed = True
        while True:
            try:
                self.idle.pop().wake.release()
            except IndexError:
                return

    def join(self, timeout: float | None) -> bool:
        end = None if timeout is None else monotonic() + timeout
        for worker in list(self.workers):
            worker.thread.join(None if end is None else max(end - monotonic(), 0))
            if worker.thread.is_alive():
                return False
        return True

    def _rest(self, worker: _Worker) -> bool:
        """Sleep until called. False when the thread is to end."""
        lapsed = False
        self.idle.append(worker)
        if self.has_work() or self.dismissed:
            self._leave_idle(worker)
        elif not worker.wake.acquire(timeout=LINGER if self._surplus() else -1):
            lapsed = self._leave_idle(worker)
        worker.called = False
        if self.has_work() or not (lapsed or self.dismissed):
            return True
        return not self._go_home(worker)

    def _leave_idle(self, worker: _Worker) -> bool:
        """Stop resting uncalled. False when someone has called this worker meanwhile: then the call is taken."""
        try:
            self.idle.remove(worker)
        except ValueError:
            worker.wake.acquire()
            return False
        return True

    def _surplus(self) -> bool:
        return len(self.workers) > self.threads

    def _go_home(self, worker: _Worker) -> bool:
        with self.hiring:
            if not self.dismissed and not self._surplus():
                return False
            self.workers.remove(worker)
        return True

    def _hire_one(self) -> bool:
        with self.hiring:
            parked = sum(worker.parked for worker in self.workers)
            if len(self.workers) - parked >= self.threads or len(self.workers) >= self.ceiling:
                return False
            self.hired += 1
            worker = _Worker(self, self.hired)
            self.workers.append(worker)
        self.woken = worker
        try:
            worker.thread.start()
        except RuntimeError:  # the system gives no more threads: those there are must do
            with self.hiring:
                self.workers.remove(worker)
            self.woken = None
            log.exception("can't start another thread for the pool %s", self.name)
            return False
        return True


class Desk:
    """Where the threads of a pool meet one loop: they announce finished work, it watches that the queue moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.news: deque[Callable[[], None]] = deque()
        self.called = False
        self.looking = False
        self.watching = False

    def post(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on the loop soon; from any thread. News that come together cross together."""
        self.news.append(callback)
        if not self.called:
            self.called = True
            try:
                self.loop.call_soon_threadsafe(self._hand_out)
            except RuntimeError:  # the loop is closed: nobody waits there any more
                self.news.clear()
                self.called = False

    def _hand_out(self) -> None:
        self.called = False
        news = self.news
        while news:
            news.popleft()()

    def look_out(self, crew: _Crew) -> None:
        """See to it that the queue moves: look in a moment, and call another worker when it has not moved."""
        if not self.looking:
            self.looking = True
            self.loop.call_later(PATIENCE, self._look, crew)

    def watch(self, crew: _Crew) -> None:
        """Have an eye on the threads while they work, for views that burn."""
        if not self.watching:
            self.watching = True
            self.loop.call_later(TICK, self._watch, crew)

    def _watch(self, crew: _Crew) -> None:
        self.watching = False
        if crew.hog_count():
            INTERVAL_OF_PROCESS.shorten(crew)
        else:
            INTERVAL_OF_PROCESS.restore(crew)
        if crew.at_work():
            self.watch(crew)

    def _look(self, crew: _Crew) -> None:
        self.looking = False
        if not crew.has_work():
            return
        if crew.is_moving() or crew.call_one():
            self.look_out(crew)


class _Call(Job):
    """One ``Pool.run``."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], desk: Desk) -> None:
        super().__init__(desk)
        self.fn = fn
        self.args = args
        self.future: asyncio.Future[Any] = desk.loop.create_future()
        self.context = contextvars.copy_context()
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
        self.desk.post(self._settle)

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


def worker_job() -> Job | None:
    """The job that the calling thread works on; None in a thread of no pool."""
    worker = getattr(_here, "worker", None)
    return None if worker is None else worker.job


@contextmanager
def parked() -> Iterator[None]:
    """Inside, the calling worker thread does not count against its pool's limit: it only waits for a loop."""
    worker = getattr(_here, "worker", None)
    if worker is None:
        yield
        return
    worker.parked = True
    worker.crew.call_if_waiting()
    try:
        yield
    finally:
        worker.parked = False


@contextmanager
def unparked() -> Iterator[None]:
    """Inside ``parked``, for a moment in which the thread does work after all."""
    worker = getattr(_here, "worker", None)
    if worker is None:
        yield
        return
    worker.parked = False
    try:
        yield
    finally:
        worker.parked = True


_here = threading.local()
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_threads() -> None:
    for pool in list(_pools):
        pool._forget()


# A forked child has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
