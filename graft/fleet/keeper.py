"""The keeper: one worker of a host asks the cluster for all of them, and writes what it finds where they follow it.

Each worker has one; the one that holds the host's lock looks, then waits for the next change, and looks again all the
same after ``Rest.seconds``, in case it was not woken. Where it can't wait, it looks every ``LOOK_SECONDS``. So the
cluster sees one request of a host at a time, however many workers that has.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from graft import files
from graft.cancellation import cancel_and_wait
from graft.chance import CHANCE
from graft.errors import GraftError, SwitchesError
from graft.fleet.cluster import Look
from graft.fleet.lease import FleetLease, Seen
from graft.fleet.rests import LOOK_SECONDS, Rest, Rests
from graft.fleet.snapshot import Snapshot, Version
from graft.operations.locks import FileLease
from graft.threads.starting import NoThread

if TYPE_CHECKING:
    from graft.fleet.fleet_state import FleetState

SPREAD_A_HOST = 0.001
"""Seconds over which all hosts fetch what they were woken for, for each of them."""

BACK_SECONDS = 120.0
"""So long an older state than the known one has to stand before it is believed: a snapshot that was restored. A node
that was cut off from its cluster shows one for a moment, too."""

log = logging.getLogger("graft.fleet")


class Keeper:
    """``leads`` is whether this worker asks for its host. Made before the fork or after it; ``run`` is for the loop of
    one worker, the other methods block: one thread at a time."""

    def __init__(
        self,
        state: FleetState,
        data: Path,
        *,
        leaves: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leads = False
        self.waits = False
        """Whether it waits for the next change at this moment. (event loop)"""
        self._state = state
        self._data = data
        self._leaves = leaves
        self._clock = clock
        self._host = FileLease(data / f".fleet-{state.cluster.name}.lease")
        self._status = state.last_known.folder / "status.json"
        self._leases: dict[str, FleetLease] = {}
        self._seen: dict[str, Seen] = {}
        self._refused: Version | None = None
        self._older: tuple[Version, float] | None = None
        self._failures = 0
        self._problem: str | None = None
        self.rests = Rests(state.cluster, clock)

    def lease(self, name: str) -> FleetLease:
        return self._leases.setdefault(name, FleetLease(name, self._state.cluster, self, self._clock))

    def seen(self, name: str) -> Seen | None:
        """None before the first look at it."""
        return self._seen.get(name)

    @property
    def problem(self) -> str | None:
        """Why this host goes by its last known state, as the worker has told that looks. (any worker)"""
        problem = files.read_object(self._status).get("problem")
        return str(problem) if problem else None

    async def run(self) -> None:
        """Look until it is cancelled. (event loop)"""
        woken = False
        try:
            while True:
                rest = Rest(LOOK_SECONDS)
                with suppress(NoThread):
                    rest = await asyncio.to_thread(self.look, woken)
                woken = await self._rest(rest)
        finally:
            await self.rests.waiting.close()

    async def _rest(self, rest: Rest) -> bool:
        """Whether the fleet has changed. Ends, too, when there is something to do on this host."""
        if rest.alias is None:
            await asyncio.sleep(rest.seconds)
            return False
        before = self._state.decisions.signature()
        waiting = asyncio.create_task(self.rests.waiting.until(rest.alias, rest.seconds), name="graft-fleet-wait")
        self.waits = True
        try:
            while not (await asyncio.wait([waiting], timeout=LOOK_SECONDS))[0]:
                if self._leaves() or self._gives_back() or self._state.decisions.signature() != before:
                    return False
            if woken := waiting.result():
                await asyncio.sleep(CHANCE.uniform(0, SPREAD_A_HOST * self.rests.hosts))
            return woken
        finally:
            self.waits = False
            await cancel_and_wait([waiting])

    def look(self, woken: bool = False) -> Rest:
        """One look, if this worker is the one that looks for its host; what comes before the next. ``woken``: there is
        something new. Raises nothing."""
        if self._leaves() or not self._host.take():
            self._step_down()
            return self.rests.pause(self._failures)
        self.leads = True
        try:
            self._look(woken)
        except (GraftError, OSError) as error:
            self._failures += 1
            self._tell(str(error))
        except Exception as error:
            log.exception("the fleet could not be looked at; it is tried again")
            self._failures += 1
            self._tell(f"{type(error).__name__}: {error}")
        else:
            self._failures = 0
            self._tell(None)
        if self._failures or self._refused is not None or self._older is not None:
            return self.rests.pause(self._failures)
        return self.rests.next(self._state.last_known.read())

    def end(self) -> None:
        """Give back what this worker does for its host, and its host for the fleet."""
        for lease in self._leases.values():
            lease.give_back()
        self._step_down()

    def _look(self, woken: bool) -> None:
        for lease in self._leases.values():
            lease.release()
        known = self._state.last_known.read()
        if woken and known.version is not None:
            self._fetch(None)
            if self._state.last_known.read().version == known.version:
                self.rests.was_woken_for_nothing(known)
            self._state.send_decisions()
            return
        look = self._state.cluster.look(list(self._leases))
        self._note_leases(look)
        if look.version is None:
            self._state.begin()
        elif look.version != known.version:
            self._fetch(look.version)
        self._state.send_decisions()
        self.rests.renew()
        if self._refused is not None and self._refused == look.version:
            raise SwitchesError(self._state.place, "its switches can't be read", "Mend them: graft switches push.")

    def _gives_back(self) -> bool:
        return any(lease.gives_back for lease in self._leases.values())

    def _note_leases(self, look: Look) -> None:
        now = self._clock()
        for name in self._leases:
            document, seen = look.leases.get(name), self._seen.get(name)
            version = document.version if document is not None else None
            known = seen.document.version if seen is not None and seen.document is not None else None
            since = now if seen is None or version != known else seen.since
            self._seen[name] = Seen(document, since, now)

    def _fetch(self, version: Version | None) -> None:
        """``version`` is what a look has found; None where it was not asked for."""
        if version is not None and (
            version == self._refused or (self._older is not None and self._older[0] == version and self._is_early())
        ):
            return
        snapshot = self._state.cluster.read()
        if snapshot is None or snapshot.version is None:
            return  # deleted this instant: the next look begins it anew
        known = self._state.last_known.read()
        if snapshot.version == known.version:
            return
        back = snapshot.id == known.id and snapshot.revision < known.revision
        if back:
            if self._older is None or self._older[0] != snapshot.version:
                self._older = snapshot.version, self._clock()
            if self._is_early():
                return
            log.warning(
                "%s was taken back from revision %d to %d, and stays so: this host follows",
                self._state.place,
                known.revision,
                snapshot.revision,
            )
        self._adopt(snapshot, back)

    def _is_early(self) -> bool:
        return self._older is not None and self._clock() - self._older[1] < BACK_SECONDS

    def _adopt(self, snapshot: Snapshot, back: bool) -> None:
        try:
            self._state.parsed(snapshot)
        except SwitchesError:
            self._refused = snapshot.version
            raise
        self._refused = self._older = None
        self._state.last_known.keep(snapshot, back=back)

    def _step_down(self) -> None:
        if self.leads:
            for lease in self._leases.values():
                lease.give_back()
                lease.release()
            self.leads = False
            self._seen.clear()
        self._host.give_back()

    def _tell(self, problem: str | None) -> None:
        """In the log once, and where the other workers see it."""
        if problem == self._problem:
            return
        known = self._state.last_known.read().revision
        if problem is None:
            log.info("%s answers again; this host is at its revision %d", self._state.place, known)
        elif self._problem is None:
            log.warning("%s This host goes on with what it knows, revision %d", problem, known)
        self._problem = problem
        with suppress(OSError):
            self._status.parent.mkdir(parents=True, exist_ok=True)
            files.replace(self._status, json.dumps({"problem": problem}).encode())
