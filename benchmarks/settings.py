"""How long and how often is measured, and on which cores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def _silent(seconds: float, doing: str) -> None:
    pass


@dataclass(frozen=True)
class Settings:
    """``rounds`` of ``seconds`` each for every contender. None as a core: the system chooses.

    ``advance(seconds, doing)`` is called with the time that each step was planned to take, for the progress bar.
    """

    rounds: int
    seconds: int
    server_core: int | None = None
    load_core: int | None = None
    advance: Callable[[float, str], None] = _silent

    @property
    def cores(self) -> str:
        if self.server_core is None:
            return "not pinned"
        others = "wrk, Elasticsearch and the upstream service"
        return f"servers on core {self.server_core}; {others} on core {self.load_core}"


def two_cores() -> tuple[int, int] | None:
    """The core for the servers and the one for all that is not under test; None where there are no two to choose."""
    if shutil.which("taskset") is None or not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else None


def pinned(command: list[str], core: int | None) -> list[str]:
    return command if core is None else ["taskset", "-c", str(core), *command]


@contextmanager
def starting_on(core: int | None) -> Iterator[None]:
    """Programs that are started inside run on this core, with every thread that they will ever start."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
