"""The clocks of a thread: how long something took, and what the thread had of the processor meanwhile."""

from __future__ import annotations

from time import perf_counter, process_time, thread_time

from graft.request_record import Work

SCHEDULE = "/proc/thread-self/schedstat"
"""Linux: nanoseconds on a processor, and those spent runnable while others had it."""


class Clocks:
    """As they are when it is made; ``work`` is what went by since. In the thread that it is about. Some 20 us for both:
    for a sample of the requests."""

    __slots__ = ("_cpu", "_process", "_stood_back", "_wall")

    def __init__(self) -> None:
        self._stood_back = _stood_back()
        self._process = process_time()
        self._cpu = thread_time()
        self._wall = perf_counter()

    def work(self) -> Work:
        wall = perf_counter() - self._wall
        cpu = thread_time() - self._cpu
        others = process_time() - self._process - cpu
        return Work(wall, cpu, max(others, 0.0) + _stood_back() - self._stood_back)


def _stood_back() -> float:
    """Seconds in which this thread could have run, and another process did. Always 0 where the system does not say."""
    try:
        with open(SCHEDULE, "rb", buffering=0) as file:
            return int(file.read(128).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
