"""The history of a fleet: an index of a month, and before that the newest changes in the switches' document itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from graft.errors import FleetUnavailable
from graft.fleet.cluster import Cluster
from graft.fleet.decisions import Decisions
from graft.fleet.last_known import LastKnown
from graft.fleet.snapshot import MOST_EVENTS, Snapshot
from graft.operations.state import Event, Mark
from graft.types import RouteKey

log = logging.getLogger("graft.fleet")


class FleetHistory:
    """The methods block; any thread. Those that read raise FleetUnavailable."""

    def __init__(self, cluster: Cluster, decisions: Decisions, last_known: LastKnown) -> None:
        self._cluster = cluster
        self._decisions = decisions
        self._last_known = last_known
        self._recorded = 0

    def newest(self, key: RouteKey | None, last: int) -> list[Event]:
        """The newest first, with what was decided on this host and the fleet has not yet."""
        waiting = [each.event for each in reversed(self._decisions.read()) if key in (None, each.key)]
        snapshot = self._cluster.read()
        newest = [Event.of_data(each) for each in reversed(snapshot.events if snapshot is not None else ())]
        found = [*waiting, *(each for each in newest if key in (None, each.key)), *self._cluster.newest(key, last)]
        return list({each.id: each for each in found}.values())[:last]

    def newest_mark(self) -> Mark:
        snapshot = self._cluster.read()
        return {"revision": snapshot.revision if snapshot is not None else 0, "number": MOST_EVENTS}

    def after(self, mark: Mark, most: int, *, follows: bool) -> list[tuple[Event, Mark]]:
        """``follows``: this host knows the newest revision, so the cluster need not be asked for it."""
        revision, number = int(mark.get("revision", 0)), int(mark.get("number", 0))
        if follows and self._last_known.read().revision < revision + (number < MOST_EVENTS):
            return []
        snapshot = self._cluster.read()
        found = {each["id"]: each for each in self._cluster.after(revision, number, most)}
        for each in snapshot.events if snapshot is not None else ():
            if (each["revision"], each["number"]) > (revision, number):
                found.setdefault(each["id"], each)
        ordered = sorted(found.values(), key=lambda each: (each["revision"], each["number"]))[:most]
        return [(Event.of_data(each), {"revision": each["revision"], "number": each["number"]}) for each in ordered]

    def unrecorded(self, before: Snapshot) -> Sequence[Mapping[str, object]]:
        """See that what ``before`` tells is in the history; what it could not take."""
        if before.revision == self._recorded or not before.events:
            return ()
        try:
            self._cluster.record(before.events)
        except FleetUnavailable:
            return before.events
        return ()

    def record(self, after: Snapshot) -> None:
        """What ``after`` tells; later, with the next change, where the index takes nothing now."""
        try:
            self._cluster.record(after.events)
            self._recorded = after.revision
        except FleetUnavailable as error:
            log.warning("%s was changed, and its history takes that later: %s", self._cluster.place, error)
