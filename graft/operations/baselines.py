"""Baselines: what the figures were when each route came to its rung, so that only what happened since counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft import files
from graft.figures.route_figures import RouteFigures
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.switch import Switch
from graft.types import RouteKey

LOCK_SECONDS = 5.0


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

    def rung(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung | None:
        """The rung that ``key`` stands on, by the figures of ``now``; None where it was not begun.

        ``server`` names the processes that count together. Fewer figures than at the beginning are those of a moment
        before it, which another worker has kept: the rung has shown nothing then.
        """
        kept = self._read().get(str(key))
        if not isinstance(kept, dict) or kept.get("rung") != _identity(switch) or kept.get("server") != server:
            return None
        try:
            begun = RouteFigures.of_data(kept.get("figures"))
            if begun.build != now.build:
                return None  # what other code did says nothing about this
            figures = now.since(begun)
            seconds = self._clock() - float(kept["clock"])
        except (LookupError, TypeError, ValueError):
            return None
        if seconds < 0:
            return None  # the machine was started again
        return Rung(figures or RouteFigures(), seconds)

    def begin(self, key: RouteKey, switch: Switch, now: RouteFigures, server: str) -> Rung:
        """The rung of ``rung``; where there is none it begins now."""
        rung = self.rung(key, switch, now, server)
        if rung is not None:
            return rung
        begun = {"rung": _identity(switch), "server": server, "clock": self._clock(), "figures": now.as_data()}
        with suppress(OSError, LockHeld, LockUnwritable):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path, LOCK_SECONDS):
                files.replace(self._path, json.dumps({**self._read(), str(key): begun}, indent=1).encode())
        return Rung()

    def _read(self) -> dict[str, Any]:
        return files.read_object(self._path)


def _identity(switch: Switch) -> list[Any]:
    """What a rung is: figures that were counted under other settings say nothing about these."""
    compared = (switch.ignore, switch.headers, switch.tolerance, switch.unordered, switch.allow, switch.hooks)
    climb = switch.climb_at.isoformat() if switch.climb_at is not None else None
    settings = [list(each) if isinstance(each, tuple) else each for each in compared]
    return [switch.share, switch.mirror, climb, *settings, *([switch.errors] if switch.errors != "native" else [])]
