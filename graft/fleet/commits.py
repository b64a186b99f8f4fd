"""Commits: each change of the fleet's document is made on what it is, and again where another one came between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graft.chance import CHANCE
from graft.errors import FleetUnavailable
from graft.fleet.cluster import Cluster, Conflict
from graft.fleet.fleet_history import FleetHistory
from graft.fleet.snapshot import Snapshot
from graft.operations.state import Event, Transition

MOST_TRIES = 200
LONGEST_PAUSE = 0.25
"""Seconds between two tries of a change at most: as many as a hundred writers at once need."""

log = logging.getLogger("graft.fleet")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change that is about to be written."""

    text: str
    events: Sequence[Event]
    transitions: tuple[Transition, ...] = ()


class Commits:
    """``seed`` is what an empty fleet begins with, ``keep`` has what was written on this host at once. The methods
    block; any thread."""

    def __init__(
        self,
        cluster: Cluster,
        history: FleetHistory,
        seed: Callable[[], Snapshot],
        keep: Callable[[Snapshot], object],
    ) -> None:
        self._cluster = cluster
        self._history = history
        self._seed = seed
        self._keep = keep
        self._wakes = True

    def make(self, attempt: Callable[[Snapshot], Attempt], fences: Mapping[str, int]) -> tuple[Transition, ...]:
        """Try until nobody else was quicker. Raises FleetUnavailable, and what ``attempt`` raises."""
        tried: Attempt | None = None
        for number in range(MOST_TRIES):
            before = self._cluster.read() or self._seed()
            if tried is not None and tried.events and tried.events[0].id in {each["id"] for each in before.events}:
                self._keep(before)  # it had been written; what was lost is the answer
                return tried.transitions
            tried = made = attempt(before)
            if made.text == before.text and not made.events:
                self._keep(before)
                return tuple(made.transitions)
            try:
                after = self.put(before.next(made.text, made.events, self._history.unrecorded(before), fences))
            except Conflict:
                time.sleep(CHANCE.uniform(0, min(0.01 * 2 ** min(number, 6), LONGEST_PAUSE)))
                continue
            self._keep(after)
            self._history.record(after)
            return tuple(made.transitions)
        why = f"{MOST_TRIES} other changes were quicker"
        raise FleetUnavailable(f"fleet {self._cluster.name}", why, "Is a script changing it again and again?")

    def put(self, snapshot: Snapshot) -> Snapshot:
        """Write it, and wake who waits for it. Raises Conflict and FleetUnavailable."""
        after = self._cluster.write(replace(snapshot, wakes=self._wakes))
        try:
            self._cluster.wake(after)
            self._wakes = True
        except FleetUnavailable as error:
            self._wakes = False
            place = self._cluster.place
            log.warning("%s was changed, and the other hosts hear of it some seconds later: %s", place, error)
        return after
