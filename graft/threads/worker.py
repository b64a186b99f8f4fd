"""One thread of a pool, as it is known to itself and to others."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from graft.threads.app_thread import AppThread
from graft.threads.scheduler import Job


class Worker:
    """One thread. Only the thread itself writes ``job`` and ends ``called``; ``parked`` changes under the lock
    of its WorkerThreads.

    ``watched`` is the job that the loop looks at, ``clock`` the thread's CPU time when it began to. The loop sets both,
    ``clock`` first; the thread only clears ``watched`` after a job.
    """

    __slots__ = (
        "after_slow",
        "began",
        "burned_at",
        "called",
        "clock",
        "clock_id",
        "job",
        "parked",
        "seen",
        "thread",
        "wake",
        "watched",
        "worked",
    )

    def __init__(self, name: str, work: Callable[[Worker], None]) -> None:
        self.job: Job | None = None
        self.began = 0.0
        self.called = True
        self.parked = False
        self.worked = 0.0  # seconds of its job before it was last parked
        self.after_slow = False
        self.watched: Job | None = None
        self.clock = 0.0
        self.seen = 0.0  # its clock when it was last seen burning, and when that was
        self.burned_at = 0.0
        self.clock_id: int | None = None
        self.wake = threading.Lock()
        self.wake.acquire()
        self.thread = AppThread(target=work, args=(self,), name=name)

    def burned(self) -> float:
        """How much CPU time the watched job has taken since it is watched, in seconds."""
        return self.cpu_time() - self.clock

    def cpu_time(self) -> float:
        """The CPU time of the thread, in seconds; 0.0 where the system does not tell, or the thread has ended."""
        return thread_cpu_time(self.clock_id)


current = threading.local()
"""In a worker's thread, ``current.worker`` is the worker and ``current.workers`` the WorkerThreads it belongs to. In a
thread of one job alone ``current.job`` is that."""


def thread_clock() -> int | None:
    """The CPU clock of the calling thread, for others to read. A thread asks for its own: a dead one's may crash."""
    clock: int | None = getattr(current, "clock", None)
    if clock is None and hasattr(time, "pthread_getcpuclockid"):
        clock = current.clock = time.pthread_getcpuclockid(threading.get_ident())
    return clock


def thread_cpu_time(clock: int | None) -> float:
    """Seconds of a ``thread_clock``; 0.0 where the system does not tell, or the thread has ended."""
    try:
        return 0.0 if clock is None else time.clock_gettime(clock)
    except OSError:
        return 0.0


def current_job() -> Job | None:
    """The job that the calling thread works on; None in a thread that is none of ours."""
    worker: Worker | None = getattr(current, "worker", None)
    return getattr(current, "job", None) if worker is None else worker.job


def describe_thread(thread: int) -> str:
    """Where the thread with this id is at this moment: file, line and function."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "its thread is gone"
    return f"it is in {frame.f_code.co_filename}:{frame.f_lineno}, {frame.f_code.co_name}"


def use_batch_scheduling() -> None:
    """Have the system put the calling thread, when it is woken, behind the one that runs and not in its place.

    It could do nothing there: the one that woke it has the interpreter, and both would be switched for nothing. Above
    all where it is the loop's. Linux only; it has its share of the processor as before, and so has what it starts.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
