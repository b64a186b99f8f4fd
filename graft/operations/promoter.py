"""The promoter: what drives the climbs of all routes in the gateway, so that no command has to stay for it.

Each worker has one, on its loop; the one that holds the lease acts for the host, and the next takes over when it dies.
Nothing of a climb is in memory: the wish is in the switches, the beginning of its rung in the baselines. Each step sets
the route only if its switch is still the one that the step was decided on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from graft.cancellation import cancel_and_wait
from graft.errors import GraftError
from graft.figures.route_figures import RouteFigures
from graft.operations.gates import Verdict
from graft.operations.promotion import Standing, demote, finish, promote
from graft.operations.state import PROMOTION, Follower, State
from graft.operations.switches import Switches
from graft.threads.starting import NoThread
from graft.types import RouteKey

EVERY_SECONDS = 1.0
RESTS = 3
"""So many looks a worker leaves out that was not the one, while no route climbs."""

FiguresOf = Callable[[RouteKey], RouteFigures]
"""What all workers counted for a route, as of one moment."""

log = logging.getLogger("graft.promotion")


class Promoter:
    """Moves the routes that climb. ``figures`` gives the figures of now; ``server`` names those who count together.

    It also notes the figures at which each of ``routes`` comes to its rung, whether it climbs or not: what is counted
    from then on is what a person's first ``graft promote`` goes by.

    A worker that ``leaves`` leaves it to others: in a reload it may live on for minutes, with the code of before.
    """

    def __init__(
        self,
        state: State,
        follower: Follower,
        figures: Callable[[], Awaitable[FiguresOf]],
        server: str,
        every: float = EVERY_SECONDS,
        leaves: Callable[[], bool] = lambda: False,
        routes: Collection[RouteKey] = (),
    ) -> None:
        self._state = state
        self._follower = follower
        self._figures = figures
        self._server = server
        self._every = every
        self._leaves = leaves
        self._routes = routes
        self._lease = state.lease("promotion")
        self._begun: Switches | None = None  # by which the rung of each route was begun
        self._rests = 0
        self._problem = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look every second until the block ends. (event loop)"""
        task = asyncio.create_task(self._run(), name="graft-promotion")
        try:
            yield
        finally:
            await cancel_and_wait([task])
            self._lease.give_back()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                self._problem = ""
            except NoThread:
                pass
            except GraftError as error:
                self._report(str(error))
            except Exception:
                log.exception("a promotion could not be looked at; it is tried again")
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """One look at every route that climbs or has come to another rung, if this worker is the one that does it."""
        switches = self._follower.switches
        climbing, has_begun = bool(_climbing(switches)), switches is self._begun or not self._routes
        if has_begun and not climbing:
            return
        if self._leaves():
            self._lease.give_back()
            return
        if not climbing and self._rests:
            self._rests -= 1
            return
        if not await asyncio.to_thread(self._lease.take):
            self._rests = RESTS  # another worker does it; should that one end, this one is in no hurry
            return
        figures = await self._figures()
        if not has_begun:
            await asyncio.to_thread(self._begin_all, switches, figures)
            self._begun = switches
        if climbing:
            await asyncio.to_thread(self._move_all, figures)

    def _begin_all(self, switches: Switches, figures: FiguresOf) -> None:
        """(a thread of the pool)"""
        standing = [(key, switches.for_route(key), figures(key)) for key in self._routes]
        self._state.baselines.begin_all(standing, self._server)

    def _move_all(self, figures: FiguresOf) -> None:
        """(a thread of the pool)"""
        switches = self._state.read()
        for key in _climbing(switches):
            switch = switches.for_route(key)
            rung = self._state.baselines.begin(key, switch, figures(key), self._server)
            move(self._state, Standing.of(key, switch, rung))

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            log.error("no route is promoted until this is mended: %s", problem)
        self._problem = problem


def _climbing(switches: Switches) -> list[RouteKey]:
    return [key for key, switch in switches.items() if switch.climb is not None]


def move(state: State, standing: Standing) -> str | None:
    """What the climb does at ``standing``, done: ``promote``, ``demote``, ``native``, ``stop``; None while it waits,
    and where somebody has set the route meanwhile.

    Raises SwitchesError when the switches can't be written; the climb stands where it was.
    """
    did, done = _move(state, standing)
    if did is None or not done:
        return None
    log.info("%s: %s at share %g", standing.key, did, standing.switch.share)
    return did


def _move(state: State, standing: Standing) -> tuple[str | None, bool]:
    switch = standing.switch
    if switch.hold is not None:
        return "stop", finish(state, standing, "stop", by=PROMOTION, why=f"held: {switch.hold}")
    if switch.share != switch.climb_share:
        why = f"the share was set to {switch.share:g} by hand"
        return "stop", finish(state, standing, "stop", by=PROMOTION, why=why)
    if standing.verdict is Verdict.CLOSED:
        why = f"closed: {standing.closed}; {standing.figures}"
        if switch.share == 0:
            done = finish(state, standing, "stop", by=PROMOTION, why=why)
            state.baselines.forget(standing.key)  # else the same figures would end the next climb as well
            return "stop", done
        return "demote", demote(state, standing, by=PROMOTION, why=why)
    # Without any gate the mirror was switched off in the file: there is nothing to go by, and that is for people.
    if not standing.gates or standing.verdict is not Verdict.OPEN or standing.bakes_for:
        return None, False
    if standing.at_the_top:
        why = f"watched for {standing.rung.seconds:.0f} s; {standing.figures}"
        return "native", finish(state, standing, "native", by=PROMOTION, why=why)
    return "promote", promote(state, standing, by=PROMOTION)
