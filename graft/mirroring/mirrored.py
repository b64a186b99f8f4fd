"""What the mirror found, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from graft.mirroring.answers import Answer
from graft.mirroring.compare import Difference
from graft.operations.switch import Switch
from graft.types import RouteKey, Scope, Side


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One request, what both sides said to it, and where that differs; or a ``note`` why that can't be told."""

    key: RouteKey
    answered_by: Side
    scope: Scope
    body: bytes
    switch: Switch
    native: Answer
    legacy: Answer
    differences: tuple[Difference, ...]
    note: str | None = None


class Keeper(Protocol):
    """Keeps what differs; see ``graft.mirroring.differences``."""

    async def keep(self, mirrored: Mirrored) -> None:
        """Never raises, and is quick to give up."""

    async def learned(self, key: RouteKey, noise: frozenset[str]) -> None:
        """Never raises, and is quick to give up."""
