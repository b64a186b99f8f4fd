"""The servers of a fleet: what each of them has counted, read for all that need it in this process."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from graft import files
from graft.errors import FleetUnavailable
from graft.figures import folders
from graft.figures.route_figures import RouteFigures, total
from graft.fleet.cluster import LIVES_SECONDS, Cluster
from graft.fleet.outliers import Outlier, outliers
from graft.fleet.running_builds import running_builds
from graft.fleet.server_document import ServerDocument

FRESH_SECONDS = 4.0
"""What was read counts for so long: a search for each look at a page would be many."""

REST = 10
"""And for so many times as long as reading took, as for the figures of a host: it takes turns with requests."""

log = logging.getLogger("graft.fleet")

_own: dict[int, str] = {}


@dataclass(frozen=True, slots=True)
class _Beat:
    """Since when a server's document is as it is, by this process's clock, and whether it was seen to change."""

    name: str
    since: float
    has_changed: bool


def own_server(folder: Path | None = None) -> str:
    """Names the server that this process is a worker of: all that count in ``folder``, by default the shared one. It is
    another one after each start, whatever number the process has then. (any thread)"""
    folder = folder or folders.shared
    if folder is not None and folder.is_dir():
        path = folder / "server-id"
        with suppress(OSError):
            files.create(path, uuid.uuid4().hex.encode())
            return path.read_text().strip()
    return _own.setdefault(os.getpid(), uuid.uuid4().hex)


class Servers:
    """The methods block; any thread."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, tuple[ServerDocument, ...]]] = {}
        self._beats: dict[str, _Beat] = {}

    def others(self, blob: str, own: str | None = None) -> tuple[ServerDocument, ...]:
        """All but ``own``, by default this process's server, with ``blob``: ``climbing``, ``rungs`` or ``shown``. Where
        the cluster does not answer, what was found last. Raises FleetUnavailable where nothing was."""
        with self._lock:
            until, found = self._found.get(blob, (-1.0, ()))
            if (started := self._clock()) >= until:
                try:
                    found = tuple(self._cluster.servers(blob))
                except FleetUnavailable:
                    if blob not in self._found:
                        raise
                ended = self._clock()
                self._found[blob] = ended + max(FRESH_SECONDS, REST * (ended - started)), found
                self._note(found)
        own = own or own_server()
        return tuple(each for each in found if each.server != own)

    def lives(self, server: ServerDocument) -> bool:
        """By its beat, which this process sees change; one that it has just met, by the time that it tells."""
        beat = self._beats.get(server.server)
        if beat is not None:
            if self._clock() - beat.since >= LIVES_SECONDS:
                return False
            if beat.has_changed:
                return True
        try:
            age = (datetime.now(UTC) - datetime.fromisoformat(server.at)).total_seconds()
        except (ValueError, TypeError):
            return False
        return abs(age) < LIVES_SECONDS

    def together(self, own: Mapping[str, RouteFigures], server: str | None = None) -> Mapping[str, RouteFigures]:
        """The figures of all servers that live, ``own`` being those of ``server``. Raises FleetUnavailable."""
        by_route: dict[str, list[RouteFigures]] = {route: [figures] for route, figures in own.items()}
        for each in self.living("shown", server):
            for route, figures in each.shown.items():
                by_route.setdefault(route, []).append(figures)
        return {route: total(figures) for route, figures in by_route.items()}

    def outliers(self, own: Mapping[str, RouteFigures], server: str | None = None) -> list[Outlier]:
        """Hosts whose native side fails a route more than the others' does. Raises FleetUnavailable."""
        return outliers(self._hosts(own, server))

    def builds(self, own: Mapping[str, RouteFigures], server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Of each route that runs in several builds at this time, these side by side. Raises FleetUnavailable."""
        return running_builds(self._hosts(own, server))

    def _hosts(
        self, own: Mapping[str, RouteFigures], server: str | None
    ) -> list[tuple[str, Mapping[str, RouteFigures]]]:
        return [(socket.gethostname(), own), *((each.host, each.shown) for each in self.living("shown", server))]

    def living(self, blob: str, own: str | None = None) -> list[ServerDocument]:
        """Raises FleetUnavailable."""
        return [each for each in self.others(blob, own) if self.lives(each)]

    def _note(self, found: Iterable[ServerDocument]) -> None:
        now = self._clock()
        beats = dict(self._beats)
        for each in found:
            known = beats.get(each.server)
            if known is None or known.name != each.beat:
                beats[each.server] = _Beat(each.beat, now, known is not None)
        self._beats = beats
