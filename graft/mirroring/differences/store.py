"""The interface of the two places in which differences are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from graft.mirroring.differences.document import KeptDifference, LearnedNoise
from graft.types import RouteKey

KEPT = 100
"""Differences of one route."""

DAYS = 30.0
"""How long a difference is kept, where the settings do not say."""

SHOWN = 1000
"""Differences that are read where no route is named: the newest of all."""


class DifferenceStore(Protocol):
    """Differences of all workers. Methods are called on the event loop and never block it.

    They raise DifferencesError, of one line, when the place can't be reached now: the same call may work later.
    """

    async def write(self, differences: Sequence[KeptDifference], noise: Sequence[LearnedNoise]) -> list[str]:
        """Add to what is kept, and delete all but the newest ``KEPT`` of these routes.

        Safe to repeat: what has been written before is not there twice. Answers why some will never be taken, a reason
        for each of them.
        """

    async def newest(self, route: RouteKey | None = None) -> list[KeptDifference]:
        """Of one route, or the ``SHOWN`` newest of all; the newest first. Nothing was written: an empty list."""

    async def noise(self, route: RouteKey | None = None) -> list[LearnedNoise]:
        """What was learned to be noise, of one route or of all."""

    async def forget_old(self) -> None:
        """Delete what is too old, of all routes. It is not read any more before that."""

    async def clear(self, route: RouteKey | None = None) -> int:
        """Delete what is kept of one route or of all, noise too; how many differences that were."""


def oldest(days: float) -> str:
    """The time, as ``KeptDifference.at`` has it, before which things are too old."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
