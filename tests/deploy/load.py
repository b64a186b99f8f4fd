"""Steady load through a front, as users make it: kept connections, reading, writing, streams and uploads mixed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

GENERATOR = Path(__file__).parent / "generator.py"
RATE = 250.0
"""Requests a second that are offered: enough above 200 for the machine to have other things to do."""


@dataclass
class Load:
    """What came back, known when the load is over: ``good`` by kind; ``lost`` with ``name``, ``kind`` and what was
    ``told``; ``counted``, the words sent by POST /count. Times in seconds."""

    offered: int = 0
    offering: float = 0.0
    lasted: float = 0.0
    slowest: float = 0.0
    good: Counter[str] = field(default_factory=Counter)
    lost: list[dict[str, str]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    @property
    def offered_rate(self) -> float:
        return self.offered / self.offering

    @property
    def rate(self) -> float:
        """Good answers a second, until the last of them."""
        return self.good.total() / self.lasted

    def __str__(self) -> str:
        told = [one["told"] for one in self.lost[:5]]
        return (
            f"{self.offered} requests, {self.offered_rate:.0f} a second offered, {self.rate:.0f} answered, "
            f"the slowest in {self.slowest:.2f} s, {len(self.lost)} lost: {told}"
        )


@asynccontextmanager
async def steady(port: int, certificate: Path, *, rate: float = RATE) -> AsyncIterator[Load]:
    """Load on the TLS front at ``port`` as long as the context lasts; ``rate`` is requests a second, all together."""
    load = Load()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(GENERATOR), str(port), str(certificate), str(rate),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield load
    finally:
        answer, _ = await process.communicate(b"")  # with nothing at all, its input would stay open
    for name, value in json.loads(answer).items():
        setattr(load, name, Counter(value) if name == "good" else value)
