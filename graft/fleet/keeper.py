"""The keeper: one worker of a host asks the cluster for all of them, and writes what it finds where they follow it.

Each worker has one; the one that holds the host's lock looks. So the cluster sees a request every ``LOOK_SECONDS`` from
a host, however many workers that has.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from graft import files
from graft.errors import GraftError, SwitchesError
from graft.fleet.cluster import Look
from graft.fleet.lease import FleetLease, Seen
from graft.fleet.snapshot import Snapshot, Version
from graft.operations.locks import FileLease
from graft.threads.starting import NoThread

if TYPE_CHECKING:
    from graft.fleet.fleet_state import FleetState

LOOK_SECONDS = 0.9
"""A change is followed everywhere within a second: this, two requests, a file that is written, and ``POLL_SECONDS`` of
a worker that follows it."""

LONGEST_PAUSE = 3.0
"""Between two looks at a cluster that does not answer."""

BACK_SECONDS = 120.0
"""So long an older state than the known one has to stand before it is believed: a snapshot that was restored. A node
that was cut off from its cluster shows one for a moment, too."""

_JITTER = random.SystemRandom()
"""Processes that were forked from one would draw the same from another generator."""

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
        while True:
            with suppress(NoThread):
                await asyncio.to_thread(self.look)
            await asyncio.sleep(self._pause())

    def look(self) -> None:
        """One look, if this worker is the one that looks for its host. Raises nothing."""
        if self._leaves() or not self._host.take():
            self._step_down()
            return
        self.leads = True
        try:
            self._look()
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

    def end(self) -> None:
        """Give back what this worker does for its host, and its host for the fleet."""
        for lease in self._leases.values():
            lease.give_back()
        self._step_down()

    def _look(self) -> None:
        for lease in self._leases.values():
            lease.release()
        look = self._state.cluster.look(list(self._leases))
        self._note_leases(look)
        if look.version is None:
            self._state.begin()
        elif look.version != self._state.last_known.read().version:
            self._fetch(look.version)
        self._state.send_decisions()
        if self._refused is not None and self._refused == look.version:
            raise SwitchesError(self._state.place, "its switches can't be read", "Mend them: graft switches push.")

    def _note_leases(self, look: Look) -> None:
        now = self._clock()
        for name in self._leases:
            document, seen = look.leases.get(name), self._seen.get(name)
            version = document.version if document is not None else None
            known = seen.document.version if seen is not None and seen.document is not None else None
            if seen is None or version != known:
                self._seen[name] = Seen(document, now)

    def _fetch(self, version: Version) -> None:
        if version == self._refused or (self._older is not None and self._older[0] == version and self._is_early()):
            return
        snapshot = self._state.cluster.read()
        if snapshot is None or snapshot.version is None:
            return  # deleted this instant: the next look begins it anew
        known = self._state.last_known.read()
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

    def _pause(self) -> float:
        pause = min(LOOK_SECONDS * 2.0 ** min(self._failures, 8), LONGEST_PAUSE)
        return pause * _JITTER.uniform(0.95, 1.0)  # hosts that were started together don't look together

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
