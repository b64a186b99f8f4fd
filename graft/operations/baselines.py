"""Baselines: what the figures were when each route came to its rung, so that only what happened since counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from graft import files
from graft.figures.route_figures import RouteFigures
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.switch import Switch
from graft.types import RouteKey

LOCK_SECONDS = 5.0

Counted = tuple[RouteKey, Switch, RouteFigures]
"""A route with its switch and its figures of now."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What was counted since a route stands where it does, and for how many seconds it does so."""

    figures: RouteFigures = field(default_factory=RouteFigures)
    seconds: float = 0.0


class Baselines:
    """One small file for all workers of the host. Lost or broken, the figures count from now on.

    ``clock`` is in seconds, and one for all processes of the machine: it starts anew with it, as the figures do. The
    methods block; any thread and process may call them.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._known: tuple[tuple[int, int, int], dict[str, Any]] | None = None

    def rung(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung | None:
        """The rung that ``key`` stands on, by the figures of ``now``; None where it was not begun.

        ``server`` names the processes that count together. Fewer figures than at the beginning are those of a moment
        before it, which another worker has kept: the rung has shown nothing then.
        """
        kept = self._read().get(str(key))
        seconds = self._seconds(kept, switch, now, server)
        if kept is None or seconds is None:
            return None
        try:
            figures = now.since(RouteFigures.of_data(kept["figures"]))
        except ValueError:
            return None
        return Rung(figures or RouteFigures(), seconds)

    def begin(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung:
        """The rung of ``rung``; where there is none it begins now."""
        rung = self.rung(key, switch, now, server)
        if rung is None:
            self._write([(key, switch, now)], server)
        return rung or Rung()

    def begin_all(self, routes: Sequence[Counted], server: str) -> None:
        """The same for every route of an app, at once. What is kept of others is forgotten."""
        kept = self._read()
        missing = any(self._seconds(kept.get(str(key)), switch, now, server) is None for key, switch, now in routes)
        if missing or len(kept) > len(routes):
            self._write(routes, server, of_app={str(key) for key, _, _ in routes})

    def forget(self, key: RouteKey) -> None:
        """The rung of ``key`` begins anew."""
        with suppress(OSError, LockHeld, LockUnwritable), locked(self._path, LOCK_SECONDS):
            kept = {name: each for name, each in self._read().items() if name != str(key)}
            files.replace(self._path, json.dumps(kept).encode())

    def _write(self, routes: Iterable[Counted], server: str, of_app: Set[str] | None = None) -> None:
        """Begin those of ``routes`` that have not begun: another process may have been quicker."""
        with suppress(OSError, LockHeld, LockUnwritable):
            files.make_data_folder(self._path.parent)
            with locked(self._path, LOCK_SECONDS):
                kept = {name: each for name, each in self._read().items() if of_app is None or name in of_app}
                for key, switch, now in routes:
                    if self._seconds(kept.get(str(key)), switch, now, server) is None:
                        begun = {"rung": _identity(switch), "server": server, "clock": self._clock()}
                        kept[str(key)] = {**begun, "figures": now.as_data()}
                files.replace(self._path, json.dumps(kept).encode())

    def _seconds(self, kept: Any, switch: Switch, now: RouteFigures, server: str) -> float | None:
        """How long a route stands on the rung that was ``kept``; None where that is not the one of ``switch``."""
        if not isinstance(kept, dict) or kept.get("rung") != _identity(switch) or kept.get("server") != server:
            return None
        try:
            if kept["figures"]["build"] != now.build:
                return None  # what other code did says nothing about this
            seconds = self._clock() - float(kept["clock"])
        except (LookupError, TypeError, ValueError):
            return None
        return seconds if seconds >= 0 else None  # or the machine was started again

    def _read(self) -> dict[str, Any]:
        """What is in the file, which is parsed once: some hundred routes climb at once, or are looked at."""
        try:
            stat = self._path.stat()
        except OSError:
            return {}
        signature = stat.st_ino, stat.st_mtime_ns, stat.st_size
        known = self._known  # one object, so that two threads never mix a signature with the content of another
        if known is None or known[0] != signature:
            # It may be a newer file than the signature is of: then it is read once more the next time.
            known = self._known = signature, files.read_object(self._path)
        return known[1]


def rung_name(switch: Switch) -> str:
    """Names the rung that a route with this switch stands on: short, and the same in all workers."""
    return blake2b(repr(_identity(switch)).encode(), digest_size=4).hexdigest()


def _identity(switch: Switch) -> list[Any]:
    """What a rung is: figures that were counted under other settings say nothing about these. That it climbs is none of
    them: what was counted before the climb began counts."""
    compared = (switch.ignore, switch.headers, switch.tolerance, switch.unordered, switch.allow, switch.hooks)
    settings = [list(each) if isinstance(each, tuple) else each for each in compared]
    return [switch.share, switch.mirror, *settings, *([switch.errors] if switch.errors != "native" else [])]
