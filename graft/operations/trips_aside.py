"""Trips aside: where switches.toml can't be written (a ConfigMap, a read-only file system), trips are kept in the data
folder, and hold for all workers of the host until the route's entry is changed where it is shipped from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from graft import files
from graft.operations.locks import locked
from graft.operations.switch import NO_CLIMB, Switch
from graft.operations.switches import Switches
from graft.types import RouteKey

LOCK_SECONDS = 10.0

Signature = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class TripAside:
    """``entry`` names the switch of the file that it holds for."""

    reason: str
    at: datetime
    entry: str

    def over(self, switch: Switch) -> Switch:
        if self.entry != name_of(switch):
            return switch
        held: Mapping[str, Any] = {"share": 0.0, "tripped": self.reason, "tripped_at": self.at, **NO_CLIMB}
        return replace(switch, **held)


class TripsAside:
    """The trips in the file at ``path``. The methods block; any thread and process may call them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def signature(self) -> Signature:
        """Another one for each state of the file."""
        try:
            stat = os.stat(self.path)
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def over(self, switches: Switches) -> Switches:
        """``switches`` as they hold: with the trips, for routes whose entry is still the one that tripped."""
        trips = self.read()
        if not trips:
            return switches
        held = {key: trip.over(switches.for_route(key)) for key, trip in trips.items()}
        return replace(switches, entries={**switches.entries, **held})

    def read(self) -> Mapping[RouteKey, TripAside]:
        found: dict[RouteKey, TripAside] = {}
        with suppress(OSError, ValueError, AttributeError):
            for name, data in json.loads(self.path.read_text(encoding="utf-8")).items():
                with suppress(LookupError, TypeError, ValueError):
                    at = datetime.fromisoformat(data["at"])
                    found[RouteKey.parse(name)] = TripAside(str(data["reason"]), at, str(data["entry"]))
        return found

    @contextmanager
    def changing(self) -> Iterator[dict[RouteKey, TripAside]]:
        """The trips, which are written when the block ends. Raises OSError, LockHeld or LockUnwritable."""
        files.make_data_folder(self.path.parent)
        with locked(self.path, LOCK_SECONDS):
            trips = dict(self.read())
            before = dict(trips)
            yield trips
            if trips != before:
                data: dict[str, Any] = {
                    str(key): {"reason": trip.reason, "at": trip.at.isoformat(), "entry": trip.entry}
                    for key, trip in trips.items()
                }
                files.replace(self.path, json.dumps(data, indent=1).encode())


def name_of(switch: Switch) -> str:
    return blake2b(repr(switch).encode(), digest_size=16).hexdigest()
