"""Figures: what is counted about each switched route, by whom, and who reads it.

How many requests each side served, and how long they took, is counted where the access record is written, by
the side in the request's record. The rest is told to a ``Recorder`` from in here. ``Statistics`` is the way back: the
figures of all workers together, which ``graft promote`` decides by.
"""

from __future__ import annotations

from typing import Protocol

from graft.figures.statistics import RouteStatistics
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


class Statistics(Protocol):
    """Where the figures of all workers come from."""

    def figures(self, key: RouteKey) -> RouteStatistics:
        """The figures of now of one route. Raises GraftError when they can't be had."""
