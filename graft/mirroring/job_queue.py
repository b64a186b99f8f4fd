"""The queue of the mirror: kept requests until it is their turn, bounded in number, in bytes and in age.

Routes take turns, so a busy or a slow one does not keep the others waiting. When the queue is full, a route that has
less than its part of it takes the place of the oldest request of the route with most (longest queue drop). On the event
loop; not shared.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from graft.mirroring.original import Original
from graft.types import RouteKey, Side

OLDEST = 5.0
"""Seconds after the user's answer until which the other side may be asked: later, too much has changed meanwhile."""

Discarded = Callable[[RouteKey, str], object]
"""Told of each request that is thrown away: ``dropped`` for want of room, or ``late``."""


class Job(NamedTuple):
    """One answered request, for the other side."""

    key: RouteKey
    original: Original
    side: Side
    size: int
    since: float


class JobQueue:
    """At most ``most`` requests of at most ``most_bytes`` together."""

    def __init__(self, most: int, most_bytes: int, discarded: Discarded) -> None:
        self._most = most
        self._room = most_bytes
        self._discarded = discarded
        self._routes: OrderedDict[RouteKey, deque[Job]] = OrderedDict()  # in the order of their turns; none is empty
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def keys(self) -> Iterator[RouteKey]:
        """The route of each request that waits."""
        return (key for key, jobs in self._routes.items() for _ in jobs)

    def has_room(self, key: RouteKey) -> bool:
        """Would one more request of the route be taken, as far as numbers go?"""
        if self._length < self._most:
            return True
        jobs = self._routes.get(key)
        routes = len(self._routes) + (jobs is None)
        return self._most > 0 and (0 if jobs is None else len(jobs)) < self._most // routes

    def put(self, job: Job) -> bool:
        """False where there is no room."""
        if job.size > self._room or not self.has_room(job.key):
            return False
        if self._length >= self._most:
            longest = max(self._routes, key=lambda key: len(self._routes[key]))
            self._take(longest)
            self._discarded(longest, "dropped")
        self._routes.setdefault(job.key, deque()).append(job)
        self._length += 1
        self._room -= job.size
        return True

    def next(self) -> Job | None:
        """The oldest request of the route whose turn it is; None where none waits."""
        oldest = time.perf_counter() - OLDEST
        while self._routes:
            key = next(iter(self._routes))
            job = self._take(key)
            if key in self._routes:
                self._routes.move_to_end(key)
            if job.since >= oldest:
                return job
            self._discarded(key, "late")
        return None

    def discard_late(self) -> None:
        """Throw away what has waited for too long."""
        oldest = time.perf_counter() - OLDEST
        for key, jobs in list(self._routes.items()):
            while jobs and jobs[0].since < oldest:
                self._take(key)
                self._discarded(key, "late")

    def clear(self) -> None:
        for key in list(self.keys):
            self._take(key)
            self._discarded(key, "dropped")

    def _take(self, key: RouteKey) -> Job:
        jobs = self._routes[key]
        job = jobs.popleft()
        if not jobs:
            del self._routes[key]
        self._length -= 1
        self._room += job.size
        return job
