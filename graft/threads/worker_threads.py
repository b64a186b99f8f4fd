"""The threads of a pool: which one works, which one sleeps, which one is woken next.

A thread is woken only when no awake thread takes the next job: one "hot" thread that drains the queue is faster than
sixteen that fight over the GIL. A job that blocks (I/O, sleep, a lock) lets the loop run, the loop sees that the queue
does not move, and wakes the next thread. Threads that wait for coroutines are woken in the same manner, one after the
other.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from time import monotonic

from graft.threads import slow_views
from graft.threads.parking import Parking
from graft.threads.scheduler import PATIENCE, Job
from graft.threads.slow_views import SLOW, SWITCH_INTERVAL, SlowQueue
from graft.threads.starting import start
from graft.threads.worker import Worker, current, thread_clock, use_batch_scheduling

log = logging.getLogger("graft.legacy")

# Threads above the limit, started while others were parked, end after so many idle seconds.
LINGER = 10.0


class WorkerThreads:
    """The threads of one pool in one process, from the first job to ``stop``.

    ``jobs``, ``idle`` and ``ready`` are deques, whose single operations are atomic. A worker announces itself in
    ``idle`` before it looks into ``jobs`` a last time; a submitter appends to ``jobs`` before it looks into ``idle``.
    In any interleaving one of the two sees the other: no job is overlooked.
    """

    def __init__(self, threads: int, ceiling: int, name: str) -> None:
        self.threads = threads
        self.ceiling = ceiling
        self.name = name
        self.jobs: deque[Job] = deque()
        self.slow_queue = SlowQueue()
        self.idle: deque[Worker] = deque()
        self.ready: deque[Parking] = deque()  # their wait is over; a worker that has ended a job wakes the next of them
        self.all: list[Worker] = []
        self.parked = 0
        self.woken: Worker | None = None
        self.last_start = 0.0  # when a job last began
        self.average = 0.0  # how long a job takes, as a moving average in seconds
        self.stopping = False
        self.lock = threading.Lock()  # of all, parked, started: who may start, park or leave
        self.started = 0

    @property
    def waiting(self) -> int:
        return len(self.jobs) + len(self.slow_queue.jobs)

    def queued_jobs(self) -> list[Job]:
        return [*self.jobs, *self.slow_queue.jobs]

    def can_proceed(self) -> bool:
        """Whether there is anything that another thread could do."""
        return bool(self.ready) or self.has_work()

    def has_work(self) -> bool:
        """Whether a job waits that another worker may take."""
        return bool(self.jobs) or self.slow_queue.is_open()

    def free(self) -> int:
        """How many more jobs the threads could begin at once."""
        busy = sum(worker.job is not None for worker in list(self.all))
        return min(self.threads - busy + self.parked, self.ceiling - busy)

    def wake_one(self) -> bool:
        """Wake the worker that slept last, or start one. False when all that may work do."""
        try:
            worker = self.idle.pop()
        except IndexError:
            return self._start_one()
        worker.called = True
        self.woken = worker
        worker.wake.release()
        return True

    def wake_ready(self) -> bool:
        """Wake the parked worker that is ready for longest. False when none is."""
        try:
            parking = self.ready.popleft()
        except IndexError:
            return False
        parking.end()
        return True

    def wake_next(self) -> bool:
        """Wake whoever is to work next. False when all that may work do."""
        return self.wake_ready() or (self.has_work() and self.wake_one())

    def is_moving(self) -> bool:
        """Whether a thread that is awake may be expected to take the next job soon."""
        if len(self.idle) + self.parked >= len(self.all) or self.average > PATIENCE:
            return False
        return monotonic() - self.last_start < PATIENCE or self._is_waking()

    def _is_waking(self) -> bool:
        """Whether a worker has been woken that has not yet begun."""
        return self.woken is not None and self.woken.called

    def run(self, worker: Worker) -> None:
        """The life of a thread."""
        current.worker, current.workers = worker, self
        use_batch_scheduling()
        worker.clock_id = thread_clock()
        worker.called = False
        while True:
            try:
                job = self._take(worker) if self.slow_queue.in_use() else self.jobs.popleft()
            except IndexError:
                if self._wait_for_work(worker):
                    continue
                return
            worker.job = job
            worker.worked = 0.0
            self.last_start = worker.began = monotonic()
            try:
                job.run()
            except BaseException:
                log.critical("a job of the pool %s broke", self.name, exc_info=True)
            if job.overdue:
                log.warning("the thread %s is back from a request that was given up", worker.thread.name)
            took = worker.worked + monotonic() - worker.began
            self.average += (took - self.average) / 16
            if worker.watched is not None or job in self.slow_queue.running:
                self._record(worker, job, took)
            worker.job = None
            hands_over = self.ready and (job.scheduler.checking_queue or not self.jobs) and self.wake_ready()
            job = None  # type: ignore[assignment]  # while it sleeps a thread keeps no request alive
            if hands_over and not self._wait_for_work(worker, while_jobs_wait=True):
                return

    def _take(self, worker: Worker) -> Job:
        """The next job while slow views are about: one of theirs when there is room, but not two in a row while others
        wait."""
        self.slow_queue.divert(self.jobs)
        if not (worker.after_slow and self.jobs):
            job: Job | None = self.slow_queue.take()
            if job is not None:
                worker.after_slow = True
                return job
        worker.after_slow = False
        return self.jobs.popleft()

    def _record(self, worker: Worker, job: Job, took: float) -> None:
        """Learn from a job that has ended. One from the slow queue made room for the next."""
        burned = worker.burned() if worker.watched is job else 0.0
        worker.watched = None
        if self.slow_queue.finish(job, burned, took) and self.has_work():
            self.wake_one()

    def count_slow_views(self) -> int:
        """How many workers burn the CPU now. Called on the loop, now and then: looks only at jobs that take long.

        A job that burned and now waits is none of them: its place among the slow views is another's meanwhile.
        """
        now = monotonic()
        burning = 0
        for worker in list(self.all):
            job = worker.job
            if job is None or worker.parked or now - worker.began < slow_views.TICK:
                continue
            if worker.watched is not job:
                # The clock first: a worker that ends this job between the two lines would else take what it burned
                # from the clock of an earlier one. It then finds another job in watched, and counts nothing.
                worker.clock = worker.seen = worker.cpu_time()
                worker.burned_at = now
                worker.watched = job
                continue
            clock = worker.cpu_time()
            if clock - worker.seen > slow_views.IDLE:
                worker.seen, worker.burned_at = clock, now
            burns = now - worker.burned_at < slow_views.IDLE_FOR
            if burns and clock - worker.clock > SLOW:
                burning += 1
                self.slow_queue.views.mark(job.kind)
            self.slow_queue.see(job, burns=burns)
        self.slow_queue.burning = burning
        if self.slow_queue.is_open():
            self.wake_one()
        return burning

    def park(self, worker: Worker) -> None:
        """It waits for a loop: others may work meanwhile. (worker thread, or that of its own loop)"""
        worker.worked += monotonic() - worker.began
        with self.lock:
            worker.parked = True
            self.parked += 1

    def unpark(self, worker: Worker) -> None:
        """It works again, or is just being woken to. From the worker's thread or the loop, whichever comes first."""
        with self.lock:
            if not worker.parked:  # the other of the two was first: counted once
                return
            worker.parked = False
            self.parked -= 1
        self.last_start = worker.began = monotonic()

    def any_busy(self) -> bool:
        return any(worker.job is not None for worker in list(self.all))

    def stop(self) -> None:
        """Let every thread end once no job waits. From any thread."""
        # The flag first: a worker that announces itself in idle after the loop below has passed sees it there.
        self.stopping = True
        SWITCH_INTERVAL.restore(self)
        while True:
            try:
                self.idle.pop().wake.release()
            except IndexError:
                return

    def join(self, timeout: float | None) -> bool:
        end = None if timeout is None else monotonic() + timeout
        for worker in list(self.all):
            worker.thread.join(None if end is None else max(end - monotonic(), 0))
            if worker.thread.is_alive():
                return False
        return True

    def _wait_for_work(self, worker: Worker, *, while_jobs_wait: bool = False) -> bool:
        """Sleep until woken. False: the thread is to end.

        ``while_jobs_wait``: sleep though there are jobs, because another worker was woken in place of this one.
        """
        lapsed = False
        # First into idle, then the last look: a job appended before that look is seen here, one appended after it
        # finds this worker in idle.
        self.idle.append(worker)
        if (self.has_work() and not while_jobs_wait) or self.stopping:
            self._leave_idle(worker)
        elif not worker.wake.acquire(timeout=LINGER if self._surplus() else -1):
            lapsed = self._leave_idle(worker)
        worker.called = False
        if self.has_work() or not (lapsed or self.stopping):
            return True
        return not self._leave(worker)

    def _leave_idle(self, worker: Worker) -> bool:
        """Stop waiting without having been woken. False when someone has woken this worker meanwhile."""
        try:
            self.idle.remove(worker)
        except ValueError:
            # Someone popped it between the look and now, and has released ``wake`` or is about to. Taken here, as a
            # release that is left over would end the next sleep at once.
            worker.wake.acquire()
            return False
        return True

    def _surplus(self) -> bool:
        return len(self.all) > self.threads

    def _leave(self, worker: Worker) -> bool:
        # Look and leave are one step: of two surplus threads that see each other, both would go where one has to.
        with self.lock:
            if not self.stopping and not self._surplus():
                return False
            self.all.remove(worker)
        return True

    def _start_one(self) -> bool:
        with self.lock:
            if len(self.all) - self.parked >= self.threads or len(self.all) >= self.ceiling:
                return False
            self.started += 1
            worker = Worker(f"{self.name}-{self.started}", self.run)
            self.all.append(worker)
        self.woken = worker
        if not start(worker.thread):  # those there are must do
            with self.lock:
                self.all.remove(worker)
            self.woken = None
            return False
        return True
