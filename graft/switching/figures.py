"""Figures: what is counted about each switched route, by whom, and who reads it.

How many requests each side served, and how long they took, is counted where the access record is written, by
``scope["graft.side"]``. The rest is told to a ``Recorder`` from in here. ``Statistics`` is the way back: the figures of
all workers together, which ``graft promote`` decides by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from graft.types import RouteKey, Side


class Recorder(Protocol):
    """Told about each route by the switchboard and the mirror. Called on the event loop: it must be quick."""

    def native_failed(self, key: RouteKey, reason: str) -> None:
        """The native side failed to answer a user: ``exception``, ``status`` (5xx), ``deadline`` or ``broken off``."""

    def tripped(self, key: RouteKey, reason: str) -> None:
        """The route was taken from the native side; ``reason`` is a sentence."""

    def mirrored(self, key: RouteKey, side: Side, seconds: float) -> None:
        """The other side ran once more, for so long."""

    def compared(self, key: RouteKey, matched: bool) -> None:
        """Two answers were compared."""

    def failed(self, key: RouteKey, reason: str) -> None:
        """The other side gave nothing to compare: ``deadline``, ``not comparable``, ``error``."""

    def skipped(self, key: RouteKey, reason: str) -> None:
        """A request was not mirrored: ``dropped`` (queue full), ``large``, ``stream``, ``upload``,
        ``unread`` (the side that answered left the body alone), ``cut off``."""


class Unrecorded:
    """A Recorder that counts nothing."""

    def native_failed(self, key: RouteKey, reason: str) -> None:
        """Not counted."""

    def tripped(self, key: RouteKey, reason: str) -> None:
        """Not counted."""

    def mirrored(self, key: RouteKey, side: Side, seconds: float) -> None:
        """Not counted."""

    def compared(self, key: RouteKey, matched: bool) -> None:
        """Not counted."""

    def failed(self, key: RouteKey, reason: str) -> None:
        """Not counted."""

    def skipped(self, key: RouteKey, reason: str) -> None:
        """Not counted."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, over a side's answers and its mirrored runs; None where there were none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One route's figures, all workers together. Counts only grow, until the gateway starts again."""

    native: int = 0
    legacy: int = 0
    fallback: int = 0
    native_failed: int = 0
    """native answers that failed, whether the legacy side stepped in or not"""
    compared: int = 0
    matched: int = 0
    failed: int = 0
    skipped: int = 0
    native_latency: Latency = Latency()
    legacy_latency: Latency = Latency()

    @property
    def different(self) -> int:
        return self.compared - self.matched

    @property
    def parity(self) -> float | None:
        """Percent of the compared requests that matched; None before the first one."""
        return 100 * self.matched / self.compared if self.compared else None


class Statistics(Protocol):
    """Where the figures of all workers come from."""

    def figures(self) -> Mapping[RouteKey, Figures]:
        """The figures of now. Raises GraftError when they can't be had."""
