"""The fence: a request that runs as a mirror may look, but not touch.

What it must not touch is refused with ``MirroredWrite`` where it is tried, on either side, and kept: a comparison with
an answer that was made this way says nothing. ``allow = ["redis"]`` in switches.toml opens a kind for a route. How each
kind is seen, and that nothing of it is in the process before the first mirrored run, is in ``graft.mirroring.fences``;
what can't be seen is in docs/mirror.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from time import monotonic

from graft.errors import GraftError
from graft.types import Side


class Kind(StrEnum):
    """What ``allow`` may name."""

    DATABASE = "database"
    ELASTICSEARCH = "elasticsearch"
    FILES = "files"
    HTTP = "http"
    MAIL = "mail"
    MONGODB = "mongodb"
    PROCESSES = "processes"
    QUEUE = "queue"
    REDIS = "redis"
    TASKS = "tasks"


class MirroredWrite(GraftError):
    """A request that runs as a mirror tried to change something."""


class Tried:
    """What one mirrored run of ``side`` tried to change: ``index into articles``. (the run's threads and tasks)"""

    __slots__ = (
        "_ended",
        "_side",
        "allowed",
        "logged",
        "on_late",
        "own_databases",
        "own_files",
        "raised",
        "redact",
        "what",
    )

    def __init__(self, side: Side = Side.NATIVE, allowed: Collection[Kind] = (), redact: tuple[str, ...] = ()) -> None:
        self.what: list[str] = []
        self.redact = redact
        """names whose values are left out of log lines"""
        self.allowed = allowed
        self.own_files: set[str] = set()
        """temporary files and folders that the run has made for itself"""
        self.own_databases: list[object] = []
        """connections to SQLite that the run has opened: one that is in memory is nobody else's"""
        self.raised: BaseException | None = None
        """what it failed with: raised, or logged and answered with a page for errors"""
        self.logged = False
        """whether there is a log line of that"""
        self.on_late: Callable[[str], object] | None = None
        """Called with the note when what the run has left running tries the first thing. (any thread)"""
        self._side = side
        self._ended: float | None = None

    def refuse(self, what: str) -> MirroredWrite:
        self.what.append(what)
        told, self.on_late = self.on_late, None
        if told is not None:
            told(f"{self.note}, after its answer")
        return MirroredWrite(f"{self._side} tried to {what} while it ran as a mirror")

    def refuses(self, kind: Kind) -> bool:
        return kind not in self.allowed and not _inside.get() and not self.is_past

    def end(self) -> None:
        """The run has its answer, or none. What it has left running is still its own."""
        self._ended = monotonic()

    @property
    def is_past(self) -> bool:
        """Whether it ended so long ago that what still runs is no request's: a task that serves all of them, as a
        consumer of a queue or a keeper of connections, and that this run happened to start."""
        return self._ended is not None and monotonic() - self._ended > LEFT_RUNNING

    @property
    def note(self) -> str | None:
        return f"not comparable: {self._side} tried to {self.what[0]}" if self.what else None


current: ContextVar[Tried | None] = ContextVar("graft_mirrored_run", default=None)
"""What the mirrored run that this code belongs to has tried; None in all other code."""

LEFT_RUNNING = 300.0
"""Seconds for which what a run leaves running is taken for its own."""


def mirrored_run() -> Tried | None:
    """The mirrored run that this code belongs to."""
    run = current.get()
    return run if run is not None and not run.is_past else None


_inside: ContextVar[bool] = ContextVar("graft_mirrored_inside", default=False)


def is_judged() -> bool:
    """Whether this code is below a call that was let through."""
    return _inside.get()


@contextmanager
def judged() -> Iterator[None]:
    """What happens inside was let through already: a search in Elasticsearch is a POST below."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
