"""The threads of a pool: who works, who rests, who is called next.

A thread is woken only when no awake thread takes the next job: one "hot" thread that drains the queue is faster than
sixteen that fight over the GIL. A job that blocks (I/O, sleep, a lock) lets the loop run, the loop sees that the queue
does not move, and calls the next thread. Threads that wait for coroutines are called back in the same manner, one
after the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from graft.threads import slow_views
from graft.threads.scheduler import PATIENCE, Desk, Job
from graft.threads.slow_views import HOG, INTERVAL_OF_PROCESS, SlowLane
from graft.threads.worker import Worker, here, take_no_ones_place

log = logging.getLogger("graft.legacy")

# Threads above the limit, made while others were parked, go home after so many idle seconds.
LINGER = 10.0


class Crew:
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
        self.slow = SlowLane()
        self.idle: deque[Worker] = deque()
        self.ready: deque[Parking] = deque()  # parked workers whose wait is over, until one that is at work calls them
        self.workers: list[Worker] = []
        self.parked = 0  # how many are
        self.woken: Worker | None = None
        self.taken = 0.0  # when a job was last begun
        self.typical = 0.0  # how long a job takes, as a moving average in seconds
        self.dismissed = False
        self.hiring = threading.Lock()
        self.hired = 0

    @property
    def waiting(self) -> int:
        return len(self.jobs) + len(self.slow.jobs)

    def waits(self) -> bool:
        return bool(self.ready) or self.has_work()

    def has_work(self) -> bool:
        """Whether a job waits that another worker may take."""
        return bool(self.jobs) or self.slow.is_open()

    def free(self) -> int:
        """How many more jobs the threads could begin at once."""
        taken = sum(worker.job is not None for worker in list(self.workers))
        return min(self.threads - taken + self.parked, self.ceiling - taken)

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

    def call_ready(self) -> bool:
        """Wake the parked worker that is ready for longest. False when none is."""
        try:
            parking = self.ready.popleft()
        except IndexError:
            return False
        parking.end()
        return True

    def call_next(self) -> bool:
        """Wake whoever is to work next. False when all that may work do."""
        return self.call_ready() or (self.has_work() and self.call_one())

    def is_moving(self) -> bool:
        """Whether a thread that is awake may be expected to take the next job soon."""
        if len(self.idle) + self.parked >= len(self.workers) or self.typical > PATIENCE:
            return False
        return monotonic() - self.taken < PATIENCE or self._on_the_way()

    def _on_the_way(self) -> bool:
        """Whether a worker has been woken that has not yet begun."""
        return self.woken is not None and self.woken.called

    def work(self, worker: Worker) -> None:
        """The life of a thread."""
        here.worker, here.crew = worker, self
        take_no_ones_place()
        if hasattr(time, "pthread_getcpuclockid"):  # asked by the thread itself: of a dead one it may crash
            worker.clock_id = time.pthread_getcpuclockid(threading.get_ident())
        worker.called = False
        while True:
            try:
                job = self._take(worker) if self.slow.in_use() else self.jobs.popleft()
            except IndexError:
                if self._rest(worker):
                    continue
                return
            worker.job = job
            worker.worked = 0.0
            self.taken = worker.began = monotonic()
            try:
                job.run()
            except BaseException:
                log.critical("a job of the pool %s broke", self.name, exc_info=True)
            if job.overdue:
                log.warning("the thread %s is back from a request that was given up", worker.thread.name)
            took = worker.worked + monotonic() - worker.began
            self.typical += (took - self.typical) / 16
            if worker.watched is not None or job in self.slow.abreast:
                self._judge(worker, job, took)
            worker.job = None
            passes = self.ready and (job.desk.looking or not self.jobs) and self.call_ready()
            job = None  # type: ignore[assignment]
            if passes and not self._rest(worker, heedless=True):
                return

    def _take(self, worker: Worker) -> Job:
        """The next job while hogs are about: one of them when there is room, but not two in a row while others wait."""
        self.slow.sort_out(self.jobs)
        if not (worker.after_slow and self.jobs):
            job: Job | None = self.slow.take()
            if job is not None:
                worker.after_slow = True
                return job
        worker.after_slow = False
        return self.jobs.popleft()

    def _judge(self, worker: Worker, job: Job, took: float) -> None:
        """Learn from a job that has ended. One from the slow lane made room for the next."""
        burned = worker.burned() if worker.watched is job else 0.0
        worker.watched = None
        if self.slow.leave(job, burned, took) and self.has_work():
            self.call_one()

    def hog_count(self) -> int:
        """How many workers burn. Called on the loop, now and then: looks only at jobs that take long."""
        now = monotonic()
        burning = 0
        for worker in list(self.workers):
            job = worker.job
            if job is None or worker.parked or now - worker.began < slow_views.TICK:
                continue
            if worker.watched is not job:
                worker.clock = worker.cpu_time()
                worker.watched = job
            elif worker.burned() > HOG:
                burning += 1
                self.slow.hogs.suspect(job.kind)
        self.slow.burning = burning
        return burning

    def park(self, worker: Worker) -> None:
        """It waits for a loop: others may work meanwhile."""
        worker.worked += monotonic() - worker.began
        with self.hiring:
            worker.parked = True
            self.parked += 1

    def unpark(self, worker: Worker) -> None:
        """It works again, or is just being woken to."""
        with self.hiring:
            if not worker.parked:
                return
            worker.parked = False
            self.parked -= 1
        self.taken = worker.began = monotonic()

    def at_work(self) -> bool:
        return any(worker.job is not None for worker in list(self.workers))

    def dismiss(self) -> None:
        """Let every thread go home once no job waits."""
        self.dismissed = True
        INTERVAL_OF_PROCESS.restore(self)
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

    def _rest(self, worker: Worker, *, heedless: bool = False) -> bool:
        """Sleep until called, ``heedless`` of jobs that wait when another one was called. False: the thread ends."""
        lapsed = False
        self.idle.append(worker)
        if (self.has_work() and not heedless) or self.dismissed:
            self._leave_idle(worker)
        elif not worker.wake.acquire(timeout=LINGER if self._surplus() else -1):
            lapsed = self._leave_idle(worker)
        worker.called = False
        if self.has_work() or not (lapsed or self.dismissed):
            return True
        return not self._go_home(worker)

    def _leave_idle(self, worker: Worker) -> bool:
        """Stop resting uncalled. False when someone has called this worker meanwhile: then the call is taken."""
        try:
            self.idle.remove(worker)
        except ValueError:
            worker.wake.acquire()
            return False
        return True

    def _surplus(self) -> bool:
        return len(self.workers) > self.threads

    def _go_home(self, worker: Worker) -> bool:
        with self.hiring:
            if not self.dismissed and not self._surplus():
                return False
            self.workers.remove(worker)
        return True

    def _hire_one(self) -> bool:
        with self.hiring:
            if len(self.workers) - self.parked >= self.threads or len(self.workers) >= self.ceiling:
                return False
            self.hired += 1
            worker = Worker(f"{self.name}-{self.hired}", self.work)
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


class Parking:
    """A worker thread that waits for a loop and does not count against its pool's limit meanwhile.

    ``wake`` ends its wait. ``over`` does that in turn: at once when no other thread of the pool is at work, else when
    one has ended what it does. Threads that all wake at once would fight over the interpreter with each other and with
    the loop. In a thread of no pool there is nothing to count.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._worker: Worker | None = getattr(here, "worker", None)
        self._crew: Crew | None = getattr(here, "crew", None)

    def __enter__(self) -> Parking:
        self._park()
        if self._crew is not None:
            self._crew.call_next()
        return self

    def __exit__(self, *error: object) -> None:
        self._unpark()

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """For a moment in which the thread does work after all."""
        self._unpark()
        try:
            yield
        finally:
            self._park()

    def over(self, desk: Desk) -> None:
        """The wait is over. Called on the loop of ``desk``, which is the one that the worker's job came from."""
        crew = self._crew
        if crew is not None and crew.is_moving():
            crew.ready.append(self)
            desk.look_out(crew)
        else:
            self.end()

    def end(self) -> None:
        """The wait is over, at once. From any thread."""
        self._unpark()  # from now on it counts as being at work, so that the next one is not woken too
        self._wake()

    def _park(self) -> None:
        if self._worker is not None and self._crew is not None:
            self._crew.park(self._worker)

    def _unpark(self) -> None:
        if self._worker is not None and self._crew is not None:
            self._crew.unpark(self._worker)
