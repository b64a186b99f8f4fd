"""The mirror budget: what share of this worker's time mirrored work may take, and whose turn it is.

Time is paid for afterwards: a share of each second goes into a purse, a mirrored request takes out what it has cost,
and while the purse is empty none begins. So that the queue stays short, a request is not even kept for the mirror but
with the chance that its route has: of what there is to share out, each route gets as much as the others, or what it
asks for if that is less (max-min fairness). So a busy route leaves a seldom one its evidence.

The share is GRAFT_MIRROR_BUDGET while the worker is at ease. Users come first: the more of the worker's time they take,
the less of it is left for mirrors, down to ``LEAST`` of the budget, so that there is evidence also from a worker that
is never idle. What the loop waits for a processor counts as well: on a machine that others fill, a worker is saturated
with little of its time. Where the loop wakes late, or requests wait for a thread, it is, too. On the event loop; not
shared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from graft.chance import CHANCE
from graft.types import RouteKey

TICK = 0.25
"""Seconds between two looks at how busy the worker is, and at what there is to share out."""

EASE, SATURATED = 0.5, 0.9
"""Of a second, what users take up to which the whole budget is there, and from which only the least of it is."""

LEAST = 0.15
"""Of the budget, what is there on a saturated worker."""

SAVED = 2.0
"""Seconds for which the purse takes in what is not spent: so long a burst is mirrored as a whole."""

LATE = 0.03
"""Seconds that the loop may wake late; more, and somebody waits."""

FIRST_GUESS = 0.001
"""Seconds that a mirrored request costs on a route of which nothing is known."""

KEEPING = 0.00002
"""Seconds that a request costs its user's side because it is kept for the mirror."""


@dataclass(slots=True)
class _Route:
    asked: int = 0
    """since the last tick"""
    rate: float = 0.0
    """a second"""
    cost: float = 0.0
    """seconds a mirrored request, lately; 0 before the first one"""
    chance: float = 1.0


def waited_for_a_processor() -> float:
    """Seconds for which this process's main thread, the loop's, was ready to run and did not. 0.0 where the system does
    not tell; Linux does.

    Without a file object: that would ask the system nine times in place of three, and in each another thread may take
    the interpreter.
    """
    try:
        descriptor = os.open("/proc/self/schedstat", os.O_RDONLY)
        try:
            return int(os.read(descriptor, 100).split()[1]) / 1e9
        finally:
            os.close(descriptor)
    except (OSError, ValueError, IndexError):
        return 0.0


class Budget:
    """``percent`` of the worker's time; 100 and more is no limit, 0 mirrors nothing. ``crowded`` tells whether users
    wait for a thread."""

    def __init__(
        self,
        percent: float = 100.0,
        *,
        crowded: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
        waited: Callable[[], float] = waited_for_a_processor,
    ) -> None:
        self.share = percent / 100
        self.unlimited = percent >= 100
        self._crowded = crowded
        self._clock = clock
        self._cpu = cpu
        self._waited = waited
        self._routes: dict[RouteKey, _Route] = {}
        self._purse = self.share * SAVED
        self._spent = 0.0  # since the last tick
        self._busy = 0.0
        self._ticked = self._saved = clock()
        self._cpu_then = cpu() + waited()

    @property
    def allowed(self) -> float:
        """What mirrored work may take now, of each second."""
        ease = (SATURATED - self._busy) / (SATURATED - EASE)
        return self.share * min(1.0, max(LEAST, ease))

    @property
    def has_room(self) -> bool:
        """May another mirrored request begin?"""
        if self.unlimited:
            return True
        self._save(self._clock())
        return self._purse > 0

    def _save(self, now: float) -> None:
        """Bit by bit: what came in all at once each tick would be spent at once, and felt."""
        self._purse = min(self._purse + self.allowed * (now - self._saved), self.allowed * SAVED)
        self._saved = now

    def admits(self, key: RouteKey) -> bool:
        """One more request of the route: is it for the mirror?"""
        if self.unlimited:
            return True
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = _Route(chance=1.0 if self.share else 0.0)
        route.asked += 1
        return route.chance >= 1.0 or CHANCE.random() < route.chance

    def spend(self, key: RouteKey, seconds: float) -> None:
        """What one mirrored request of the route has cost."""
        seconds += KEEPING
        self._purse -= seconds
        self._spent += seconds
        route = self._routes.get(key)
        if route is not None:
            route.cost = seconds if not route.cost else route.cost + (seconds - route.cost) / 8

    def tick(self, waiting: Iterable[RouteKey] = ()) -> None:
        """Look at how busy the worker was since the last time, and share out what those that are ``waiting`` leave.
        Each TICK seconds."""
        now, cpu = self._clock(), self._cpu() + self._waited()
        self._save(now)
        passed = max(now - self._ticked, 1e-6)
        users = (cpu - self._cpu_then - self._spent) / passed
        if passed > TICK + LATE or self._crowded():
            users = 1.0
        # Up at once, down over a second: what was saturated just now is so again in a moment.
        self._busy = users if users > self._busy else self._busy + (users - self._busy) / 4
        self._ticked, self._cpu_then, self._spent = now, cpu, 0.0
        self._purse = min(self._purse, self.allowed * SAVED)
        if not self.unlimited:
            self._share_out(
                passed, sum(self._routes[key].cost or FIRST_GUESS for key in waiting if key in self._routes)
            )

    def _share_out(self, passed: float, promised: float) -> None:
        """Give each route its chance. What is saved may be spent within a second, what is owed is paid back in one."""
        asking: list[tuple[float, _Route]] = []
        for route in self._routes.values():
            route.rate = (route.rate + route.asked / passed) / 2 if route.rate else route.asked / passed
            route.asked = 0
            if route.rate > 0.01:
                asking.append((route.rate * (route.cost or FIRST_GUESS), route))
            else:
                route.rate, route.chance = 0.0, 1.0 if self.share else 0.0
        left = max(0.0, self.allowed + self._purse - promised)
        asking.sort(key=lambda each: each[0])
        for index, (wanted, route) in enumerate(asking):
            given = min(wanted, left / (len(asking) - index))
            route.chance = given / wanted
            left -= given
