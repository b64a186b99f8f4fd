"""A lease of the fleet: what one host does for all of them, with a fence.

Its document is renewed while it is held. Who waits for it watches the document: unchanged for ``FREE_AFTER`` seconds
of his own clock it is free, whatever other clocks say. Its holder stops ``MARGIN`` before that. Where the holder was
stopped itself in between (a suspended machine, a request that lay in a queue), its changes carry an older term than the
new one's, and are refused: that is the fence.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft.errors import FleetUnavailable
from graft.fleet.cluster import Cluster, Conflict, LeaseDocument
from graft.operations.state import Mark

if TYPE_CHECKING:
    from graft.fleet.keeper import Keeper

FREE_AFTER = 10.0
RENEW_AFTER = 3.0
MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease's document, None where there is none; since when it is as it is, and when it was seen so last, by this
    host's clock."""

    document: LeaseDocument | None
    since: float
    last: float


class FleetLease:
    """``Lease`` of this process, which has to be the one that asks the cluster for its host, and ``Places`` in its
    document, which the next holder goes on from. The methods block, but for ``give_back``; any thread."""

    def __init__(
        self, name: str, cluster: Cluster, keeper: Keeper, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._keeper = keeper
        self._clock = clock
        self._token = ""
        self._held: LeaseDocument | None = None
        self._renewed = 0.0
        self._ends = False
        self._lock = threading.RLock()

    def take(self) -> bool:
        """Raises FleetUnavailable."""
        with self._lock:
            return self._take()

    def _take(self) -> bool:
        self._ends = False
        if not self._keeper.leads:
            self._held = None  # another worker of this host asks for it by now; what this one held runs out
            return False
        if self._held is not None:
            if self._clock() - self._renewed < RENEW_AFTER:
                return True
            return self._renew(self._held)
        seen = self._keeper.seen(self.name)
        if seen is None:
            return False
        document = seen.document
        if document is not None and document.holder and seen.last - seen.since < FREE_AFTER:
            return False
        self._token = uuid.uuid4().hex
        return self._write(document, (document.term if document is not None else 0) + 1)

    def term(self) -> int | None:
        """The number that its holder's changes are fenced with; None where this process does not hold it."""
        held = self._held
        if held is None or self._clock() - self._renewed > FREE_AFTER - MARGIN:
            return None
        return held.term

    def give_back(self) -> None:
        """The keeper tells the cluster, at its next look or its end: nobody waits for that on an event loop."""
        self._ends = True

    @property
    def gives_back(self) -> bool:
        """Whether there is something for the keeper to tell."""
        return self._ends and self._held is not None

    def release(self) -> None:
        """Tell the cluster what was given back. (the keeper's thread)"""
        with self._lock:
            held = self._held
            if not self._ends or held is None:
                return
            self._held = None
            try:
                self._cluster.write_lease(self.name, "", socket.gethostname(), held.term, held.notes, held.version)
            except (Conflict, FleetUnavailable):
                return  # another one has it, or it runs out by itself

    def of(self, id: str) -> Mark | None:
        held = self._held
        mark = held.notes.get(id) if held is not None else None
        return mark if isinstance(mark, Mapping) else None

    def keep(self, id: str, mark: Mark) -> None:
        """Raises FleetUnavailable, also where another host has the lease by now."""
        with self._lock:
            held = self._held
            if held is None or not self._write(held, held.term, {**held.notes, id: dict(mark)}):
                raise FleetUnavailable(f"the lease {self.name}", "is another host's by now", "It goes on there.")

    def _renew(self, held: LeaseDocument) -> bool:
        try:
            return self._write(held, held.term)
        except FleetUnavailable:
            if self._clock() - self._renewed < FREE_AFTER - MARGIN:
                return True
            self._held = None
            raise

    def _write(self, document: LeaseDocument | None, term: int, notes: Mapping[str, Any] | None = None) -> bool:
        asked = self._clock()
        version = document.version if document is not None else None
        if notes is None:
            notes = document.notes if document is not None else {}
        try:
            self._held = self._cluster.write_lease(self.name, self._token, socket.gethostname(), term, notes, version)
        except Conflict:
            self._held = None
            return False
        self._renewed = asked  # not when it was answered: who waits for it may have seen it before that
        return True
