"""How long and how often is measured, and on which cores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil


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


def move(pid: int, core: int | None) -> None:
    """Let a process, its children and all their threads run on this core from now on."""
    if core is None:
        return
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        for thread in process.threads():
            with suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(thread.id, {core})
