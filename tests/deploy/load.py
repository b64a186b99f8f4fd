"""Steady load, as users make it: kept connections, reading, writing, streams and uploads mixed."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

GENERATOR = Path(__file__).parent / "generator.py"
MIXED = ("native", "legacy", "native", "count", "stream", "legacy", "native", "upload", "events", "legacy")
RATE = 250.0
"""Requests a second that are offered: enough above 200 for the machine to have other things to do."""


@dataclass
class Load:
    """What came back, known when the load is over.

    ``seconds`` of the good answers by kind, ``refused`` being one of them; ``lost`` with ``name``, ``kind`` and what
    was ``told``; ``counted``, the words sent by POST /count.
    """

    offered: int = 0
    offering: float = 0.0
    lasted: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    lost: list[dict[str, str]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    @property
    def good(self) -> int:
        return sum(len(each) for each in self.seconds.values())

    @property
    def offered_rate(self) -> float:
        return self.offered / self.offering

    @property
    def rate(self) -> float:
        """Good answers a second, until the last of them."""
        return self.good / self.lasted

    def p99(self, kind: str) -> float:
        return statistics.quantiles(self.seconds[kind], n=100)[98]

    def __str__(self) -> str:
        slowest = max((max(each) for each in self.seconds.values()), default=0.0)
        told = [one["told"] for one in self.lost[:5]]
        return (
            f"{self.offered} requests, {self.offered_rate:.0f} a second offered, {self.rate:.0f} answered, "
            f"the slowest in {slowest:.2f} s, {len(self.lost)} lost: {told}"
        )


@asynccontextmanager
async def steady(
    port: int, certificate: Path | None = None, *, rate: float = RATE, kinds: Sequence[str] = MIXED
) -> AsyncIterator[Load]:
    """Load on ``port`` as long as the context lasts: ``rate`` requests a second, all ``kinds`` in turn."""
    load = Load()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(GENERATOR), str(port), str(rate), ",".join(kinds), *[str(certificate)] * bool(certificate),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield load
    finally:
        answer, _ = await process.communicate(b"")  # with nothing at all, its input would stay open
    for name, value in json.loads(answer).items():
        setattr(load, name, value)
