"""What comes between two looks of a host: a wait for the next change, where that can be, else a pause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from graft.chance import CHANCE
from graft.errors import FleetUnavailable
from graft.fleet.cluster import Cluster
from graft.fleet.indices import past
from graft.fleet.last_known import Known
from graft.fleet.waiting import Waiting

LOOK_SECONDS = 0.9
"""Between two looks of a host that does not wait. A change is followed within a second all the same: this, two
requests, a file that is written, and ``POLL_SECONDS`` of a worker that follows it. Who waits looks so often whether
there is something to do on this host."""

LONGEST_PAUSE = 3.0
"""Between two looks at a cluster that does not answer."""

SECONDS_A_HOST, SHORTEST_WAIT, LONGEST_WAIT = 0.15, 5.0, 30.0
"""How long a wait lasts goes by the number of hosts, so that those of 200 are some thirteen requests a second."""

COUNT_SECONDS, COUNT_AGAIN_SECONDS = 120.0, 15.0
"""Between two countings of the hosts; where the last one has found many more or less, as all hosts start at once."""

RIGHTS_SECONDS = 600.0
"""After so long it is seen whether the right to wake others was given meanwhile."""

log = logging.getLogger("graft.fleet")


@dataclass(frozen=True, slots=True)
class Rest:
    """What comes before the next look: ``seconds``, or less where ``alias`` comes to be."""

    seconds: float
    alias: str | None = None


class Rests:
    """``hosts`` is about how many the fleet has. The methods block, but for those of ``waiting``; one thread at a
    time."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self.hosts = 1
        self.waiting = Waiting(cluster, clock)
        self._cluster = cluster
        self._clock = clock
        self._may_wake: bool | None = None
        self._rights_at = self._count_at = float("-inf")
        self._counted = 0
        self._woken_for_nothing: str | None = None

    def renew(self) -> None:
        """See now and then what rests go by. Raises nothing: a look has been made, and goes by none of it."""
        with suppress(FleetUnavailable):
            self._see_rights()
            self._count()

    def next(self, known: Known) -> Rest:
        """After a look that went well, and left this host with ``known``."""
        alias = self._alias(known)
        if not known.wakes or not self._may_wake or alias == self._woken_for_nothing or not self.waiting.works:
            return self.pause(0)
        seconds = min(max(SHORTEST_WAIT, SECONDS_A_HOST * self.hosts), LONGEST_WAIT)
        return Rest(seconds * CHANCE.uniform(0.8, 1.0), alias)

    def pause(self, failures: int) -> Rest:
        """Before one looks again, after so many failures one after another."""
        pause = min(LOOK_SECONDS * 2.0 ** min(failures, 8), LONGEST_PAUSE)
        return Rest(pause * CHANCE.uniform(0.95, 1.0))  # hosts that were started together don't look together

    def was_woken_for_nothing(self, known: Known) -> None:
        """Its alias is there, and no newer revision: the index was restored. That would go on and on."""
        self._woken_for_nothing = self._alias(known)

    def _alias(self, known: Known) -> str:
        return past(self._cluster.name, known.id, known.revision)

    def _see_rights(self) -> None:
        """Who can't wake others is taken for one of a fleet in which nobody can: their key is mostly the same."""
        if self._may_wake or self._clock() < self._rights_at:
            return
        could, self._may_wake = self._may_wake, self._cluster.may_wake()
        self._rights_at = self._clock() + RIGHTS_SECONDS
        if could is None and not self._may_wake:
            log.warning(
                "%s lets nobody wake the hosts that wait, so this one asks every %g s. Give the key the rights of "
                "deploy/elasticsearch/role.json: indices:admin/aliases is missing",
                self._cluster.place,
                LOOK_SECONDS,
            )

    def _count(self) -> None:
        if self._clock() < self._count_at:
            return
        before, self._counted = self._counted, self._cluster.count_servers()
        self.hosts = max(1, self._counted)
        is_steady = before and 0.8 * before <= self._counted <= 1.25 * before
        pause = COUNT_SECONDS if is_steady else COUNT_AGAIN_SECONDS
        self._count_at = self._clock() + pause * CHANCE.uniform(0.9, 1.0)
