"""Decisions of this host: trips and rollbacks that were made without the cluster. They hold here at once, through
restarts too, and go to the fleet when it can be reached. There the newer one wins by its number: a decision that was
made knowing revision 41 of the fleet gives way where the route was changed by revision 42, and is kept in the history
as one that gave way. No clock is asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from graft import files
from graft.fleet.last_known import LastKnown
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.state import Event
from graft.operations.switches import Switches
from graft.types import RouteKey

LOCK_SECONDS = 5.0

_TIMES = ("tripped_at", "held_at", "climb_at")


@dataclass(frozen=True, slots=True)
class Decision:
    """``settings`` are fields of Switch. ``base`` is the revision of the fleet that it was made on."""

    event: Event
    settings: Mapping[str, Any]
    base: int

    @property
    def key(self) -> RouteKey:
        return self.event.key

    def as_data(self) -> dict[str, Any]:
        settings = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in self.settings.items()
        }
        return {"event": self.event.as_data(), "settings": settings, "base": self.base}

    @classmethod
    def of_data(cls, data: Any) -> Decision:
        """Raises ValueError, LookupError or TypeError."""
        settings = dict(data["settings"])
        for name in _TIMES:
            if isinstance(settings.get(name), str):
                settings[name] = datetime.fromisoformat(settings[name])
        return cls(Event.of_data(data["event"]), settings, int(data["base"]))


class Decisions:
    """Those that the fleet has not yet, the oldest first. The methods block; any thread and process of the host."""

    def __init__(self, last_known: LastKnown) -> None:
        self._last_known = last_known
        self.path = last_known.folder / "decisions.json"

    def read(self) -> list[Decision]:
        found: list[Decision] = []
        for data in files.read_object(self.path).get("decisions", ()):
            with suppress(LookupError, TypeError, ValueError):
                found.append(Decision.of_data(data))
        return found

    def add(self, decisions: Iterable[Decision]) -> None:
        """Raises OSError."""
        with self._changing() as kept:
            kept.extend(decisions)

    def drop(self, decisions: Iterable[Decision]) -> None:
        """The fleet has them. Raises OSError."""
        ids = {each.event.id for each in decisions}
        with self._changing() as kept:
            kept[:] = [each for each in kept if each.event.id not in ids]

    # What a follower lays over the switches that the last known state says:

    def signature(self) -> object:
        """Another one for each state of what ``over`` goes by."""
        return _signature(self.path), _signature(self._last_known.about)

    def over(self, switches: Switches) -> Switches:
        """``switches`` with what was decided here, where the fleet has not decided since."""
        decisions = self.read()
        if not decisions:
            return switches
        revisions = self._last_known.read().revisions
        entries = dict(switches.entries)
        for each in decisions:
            if revisions.get(str(each.key), 0) <= each.base:
                entries[each.key] = replace(entries.get(each.key) or switches.for_route(each.key), **each.settings)
        return replace(switches, entries=entries)

    @contextmanager
    def _changing(self) -> Iterator[list[Decision]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.path, LOCK_SECONDS):
                kept = self.read()
                yield kept
                files.replace(self.path, json.dumps({"decisions": [each.as_data() for each in kept]}).encode())
        except LockHeld as error:
            raise OSError(f"another process has held {error.file} for {LOCK_SECONDS:g} s") from None
        except LockUnwritable as error:
            raise error.reason from None


def _signature(path: Path) -> object:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
