"""Trips over the fleet: what failed on one host alone may be too little to trip a route, and too much on all of them.

Whoever has failures of a route writes them into the document that the fleet has for it, and is answered with what the
other hosts wrote: one request, by the worker that asks for its host, a few times a second at most, and only while the
host fails more than half as often as is too much. Who finds too many in the sum trips the route for all. So the hosts
need no clock in common and wait for nobody; without the cluster each counts by itself.

Hosts that have no failure write nothing. They are taken to have as many answers as those that write have on average,
as hosts behind one balancer do.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from graft.cancellation import cancel_and_wait
from graft.fleet.servers import own_server
from graft.fleet.telling import Telling
from graft.operations.switch import Trip
from graft.operations.switches import Switches
from graft.types import RouteKey

if TYPE_CHECKING:
    from graft.fleet.fleet_state import FleetState

LOOK_SECONDS = 0.1
"""A look is a sum of one number of each worker."""

SHORTEST_PAUSE = 0.25
"""Between two things that a host tells of one route."""

GROWN = 1.1
"""So many times as many failures as were told last are news."""

HOSTS_A_SECOND = 80
"""So many hosts at most tell news of a route in a second: more of them, each less often."""

REST_SECONDS = 5.0
"""What is no news is told so often, of many hosts less often: failures that come and go, and are not too many."""

CELLS = 20
NAMED = 5

Cells = Iterable[tuple[int, int, int]]
"""Of parts of a window: how many of them old, answers, failures."""


class HostFailures(Protocol):
    """What failed on this host: ``graft.switching.host_failures``. On its loop."""

    def number(self) -> int: ...

    def failing(self) -> Mapping[RouteKey, list[tuple[int, int, int]]]: ...

    def trip(self, key: RouteKey, reason: str) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class _Told:
    """``number`` is that of the host's failures at that time."""

    at: float
    failures: int
    number: int


class FleetTrips:
    """On the loop of each worker; the one that asks the cluster for its host tells and looks."""

    def __init__(
        self,
        state: FleetState,
        failures: HostFailures,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._failures = failures
        self._clock = clock
        self._wall_clock = wall_clock
        self._told: dict[RouteKey, _Told] = {}
        self._switches: Switches | None = None
        self._number = -1
        self._waits = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the block ends. (event loop)"""
        task = asyncio.create_task(self._run(), name="graft-fleet-trips")
        try:
            yield
        finally:
            await cancel_and_wait([task])

    async def _run(self) -> None:
        telling = Telling(self.look, "failures")
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await telling.once()

    async def look(self) -> None:
        """Tell what is due, if this worker is the one that does it, and trip what is too much. Raises
        FleetUnavailable."""
        if not self._state.keeper.leads:
            return
        number = self._failures.number()
        if number == self._number and not self._waits:
            return
        self._number, self._waits = number, False
        if (switches := self._state.followed) is not self._switches:
            self._switches, self._told = switches, {}
        for key, cells in self._failures.failing().items():
            switch = switches.for_route(key)
            answers, failures = _sum(cells)
            if switch.share > 0 and failures * 200 > switch.trip.percent * answers and self._is_due(key, failures):
                self._told[key] = _Told(self._clock(), failures, number)
                if (reason := await self._reason(key, switch.trip, cells)) is not None:
                    await self._failures.trip(key, reason)

    def _is_due(self, key: RouteKey, failures: int) -> bool:
        told = self._told.get(key)
        if told is None:
            return True
        if told.number == self._number:
            return False
        many = self._state.keeper.rests.hosts / HOSTS_A_SECOND
        is_news = failures > GROWN * told.failures
        pause = max(SHORTEST_PAUSE, many) if is_news else max(REST_SECONDS, 10 * many)
        if self._clock() - told.at >= pause:
            return True
        self._waits = True
        return False

    async def _reason(self, key: RouteKey, trip: Trip, cells: Cells) -> str | None:
        """Why the route has to trip, by what all hosts have told."""
        own = {"host": socket.gethostname(), "at": self._wall_clock(), "cells": [list(each) for each in cells]}
        revision = self._state.last_known.read().revisions.get(str(key), 0)
        server = own_server()
        found = await asyncio.to_thread(self._state.cluster.tell_failures, key, revision, server, own)
        hosts: list[tuple[str, int, int]] = []
        for each in found.values():
            with suppress(LookupError, TypeError, ValueError):  # of another version
                hosts.append(_of_host(each, self._wall_clock(), trip.window))
        return too_many([each for each in hosts if each[2]], self._state.keeper.rests.hosts, trip)


def too_many(counted: list[tuple[str, int, int]], hosts: int, trip: Trip) -> str | None:
    """The reason to trip by what ``counted`` says of hosts that failed: name, answers, failures. ``hosts`` is how many
    there are. What one host alone has is its own workers' matter."""
    if len(counted) < 2:
        return None
    hosts = max(hosts, len(counted))
    failures = sum(each[2] for each in counted)
    answers = sum(each[1] for each in counted) * hosts // len(counted)
    if failures < trip.least or failures * 100 <= trip.percent * answers:
        return None
    about = "about " if hosts > len(counted) else ""
    worst = sorted(counted, key=lambda each: each[2], reverse=True)
    names = ", ".join(f"{name} {number}" for name, _, number in worst[:NAMED])
    more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return (
        f"{failures} of {about}{answers} native answers failed within {trip.window:g} s, "
        f"on {len(counted)} of {hosts} hosts: {names}{more}"
    )


def _of_host(entry: Any, now: float, window: float) -> tuple[str, int, int]:
    """Raises LookupError, TypeError or ValueError."""
    # By both clocks: where they differ by more than the window, the hosts count alone.
    late = max(0, int((now - float(entry["at"])) / (window / CELLS)))
    answers, failures = _sum([each for each in entry["cells"] if each[0] + late < CELLS])
    return str(entry["host"]), answers, failures


def _sum(cells: Cells) -> tuple[int, int]:
    answers = failures = 0
    for _, each_answers, each_failures in cells:
        answers += each_answers
        failures += each_failures
    return answers, failures
