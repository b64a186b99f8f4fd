"""Lost differences in the metrics, all workers together."""

from __future__ import annotations

from typing import Literal

from graft.figures.prometheus import REGISTRY, Counter

_lost = Counter("graft_differences_lost", "Differences that could not be kept, by why.", ("why",), registry=REGISTRY)


def lost(why: Literal["refused", "waited too long"], number: int = 1) -> None:
    _lost.labels(why).inc(number)
