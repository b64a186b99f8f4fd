"""The publisher: one worker of each host tells the fleet what its server has counted.

What climbs is told every ``CLIMBING_SECONDS``, all else every ``ALL_SECONDS``; both less often where there are many
hosts, and all else where it is large: ``BYTES_A_SECOND`` of a host on the average. Nothing is told that has not
changed, but that the server lives.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from graft.cancellation import cancel_and_wait
from graft.figures import folders
from graft.figures.route_figures import RouteFigures
from graft.fleet.server_document import Evidence, evidence_blob, shown_blob
from graft.fleet.servers import own_server
from graft.fleet.telling import Telling
from graft.operations.switches import Switches
from graft.types import RouteKey

if TYPE_CHECKING:
    from graft.fleet.fleet_state import FleetState

LOOK_SECONDS = 1.0
CLIMBING_SECONDS = 8.0
ALL_SECONDS = 15.0
HOSTS = 80
"""So many hosts tell as often as one does; more of them, less often: ten a second of all together."""

LONGEST_ALL_SECONDS = 40.0
"""Else a server would be taken for one that has ended."""

FORGET_SECONDS = 3600.0
BYTES_A_SECOND = 8 * 1024

EvidenceOf = Callable[[], Awaitable[Mapping[RouteKey, RouteFigures]]]
"""What this server counted for each switched route, of the code that it runs."""

ShownOf = Callable[[], Awaitable[Mapping[str, RouteFigures]]]
"""What it counted for each route, as people see it."""


class Publisher:
    """On the loop of each worker; the one that asks the cluster for its host publishes."""

    def __init__(
        self,
        state: FleetState,
        evidence: EvidenceOf,
        shown: ShownOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._evidence = evidence
        self._shown = shown
        self._clock = clock
        self._begun: Switches | None = None
        self._climbing_at = self._all_at = float("-inf")
        self._told: dict[str, str] = {}
        self._stand: dict[RouteKey, int] = {}
        """the revisions of the rungs that climbing routes were told of"""
        self._telling = Telling(self.look, "figures")
        self._forget_at = clock() + FORGET_SECONDS

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish until the block ends, and once more then. (event loop)"""
        task = asyncio.create_task(self._run(), name="graft-fleet-figures")
        try:
            yield
        finally:
            await cancel_and_wait([task])
            self._climbing_at = self._all_at = float("-inf")
            await self._telling.once()

    async def _run(self) -> None:
        while True:
            await self._telling.once()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Publish what is due, if this worker is the one that does it. Raises FleetUnavailable."""
        if not self._state.keeper.leads:
            self._told, self._stand, self._begun = {}, {}, None
            return
        switches = self._state.followed
        climbs = any(switch.climb is not None for switch in switches.values())
        all_due = self._clock() >= self._all_at
        if not all_due and not (climbs and self._clock() >= self._climbing_at) and switches is self._begun:
            return
        evidence = await self._evidence()
        shown = await self._shown() if all_due else None
        await asyncio.to_thread(self._publish, switches, evidence, shown)

    def _publish(
        self,
        switches: Switches,
        evidence: Mapping[RouteKey, RouteFigures],
        shown: Mapping[str, RouteFigures] | None,
    ) -> None:
        """(a thread)"""
        known = self._state.known()
        if known is None or known[1] != switches:
            return  # this worker follows in a moment
        revisions, baselines, server = known[0], self._state.baselines, folders.server_name()
        if switches is not self._begun:
            counted = [(key, switches.for_route(key), figures) for key, figures in evidence.items()]
            baselines.begin_all(counted, server)
            self._begun = switches
        climbs = {key for key, switch in switches.items() if switch.climb is not None}
        stand = {key: revisions.get(str(key), 0) for key in climbs}
        if shown is None and self._clock() < self._climbing_at and stand == self._stand:
            return  # what has changed is no rung that a gate waits for
        self._stand = stand
        rungs: dict[RouteKey, Evidence] = {}
        for key in evidence if shown is not None else climbs & evidence.keys():
            figures = evidence[key]
            rung = baselines.own(key, switches.for_route(key), figures, server)
            if rung is not None:
                since = rung.figures
                since.build = figures.build
                rungs[key] = Evidence(revisions.get(str(key), 0), rung.seconds, since)
        blobs = {"climbing": evidence_blob({key: each for key, each in rungs.items() if key in climbs})}
        many = max(1.0, self._state.keeper.rests.hosts / HOSTS)
        self._climbing_at = self._clock() + many * CLIMBING_SECONDS
        if shown is not None:
            told = {key: each for key, each in rungs.items() if each.figures.requests or each.figures.mirrored}
            blobs |= {"rungs": evidence_blob(told), "shown": shown_blob(shown)}
            size = sum(map(len, blobs.values()))
            self._all_at = self._clock() + max(min(many * ALL_SECONDS, LONGEST_ALL_SECONDS), size / BYTES_A_SECOND)
        self._write(blobs)

    def _write(self, blobs: Mapping[str, str]) -> None:
        changed = {name: blob for name, blob in blobs.items() if self._told.get(name) != blob}
        about: dict[str, Any] = {
            "server": own_server(),
            "host": socket.gethostname(),
            "beat": uuid.uuid4().hex,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        if self._clock() >= self._forget_at:
            self._forget_at = self._clock() + FORGET_SECONDS
            self._state.cluster.forget_servers()
        is_new = self._state.cluster.write_server({**about, **changed})
        self._told |= changed
        if is_new and len(changed) < len(blobs):  # somebody has deleted it
            self._told = {}
            self._all_at = float("-inf")
