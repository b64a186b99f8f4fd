"""The state of all switched routes, as an interface: what an operation reads and changes, and where it is recorded.

There is one implementation per place that keeps it: ``graft.operations.file_state`` is a switches.toml with a history
beside the other data of the gateway, ``graft.fleet`` a document that many hosts share. Methods of ``State`` block, so
an event loop calls them in a thread; those of ``Follower`` belong to the loop that follows.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from graft.errors import GraftError
from graft.figures.route_figures import RouteFigures
from graft.operations.baselines import Baselines
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.types import RouteKey

LONGEST_REASON = 500

TRIP = "trip"
PROMOTION = "promotion"
"""Who changes a route where it is no person."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Which operation changes something, who asked for it, and why."""

    operation: str
    by: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What to set for one route. ``settings`` are fields of Switch; None takes one out."""

    key: RouteKey
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Transition:
    """What a route was before a change and what it is after it; the two may be equal."""

    key: RouteKey
    before: Switch
    after: Switch


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one route, as the history keeps it. ``before`` and ``after`` have the settings that changed."""

    key: RouteKey
    operation: str
    by: str
    why: str | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, transition: Transition, settings: Iterable[str], cause: Cause) -> Event | None:
        """The event that ``transition`` is; None when none of ``settings`` changed."""
        pairs = {name: (getattr(transition.before, name), getattr(transition.after, name)) for name in settings}
        changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if not changed:
            return None
        before, after = ({name: pair[side] for name, pair in changed.items()} for side in (0, 1))
        why = one_line(cause.why) if cause.why else None
        return cls(transition.key, cause.operation, one_line(cause.by), why, before, after)

    def as_data(self) -> dict[str, Any]:
        """The JSON of the event: of the API, of ``graft history --json``, and of what keeps it."""
        return {
            "id": self.id,
            "at": self.at.isoformat(timespec="milliseconds"),
            "route": str(self.key),
            "operation": self.operation,
            "from": _plain(self.before),
            "to": _plain(self.after),
            "by": self.by,
            "why": self.why,
            "host": self.host,
            "pid": self.pid,
        }

    @classmethod
    def of_data(cls, data: Any) -> Event:
        """The event that ``data`` is the JSON of; times among its settings stay text. Raises ValueError for others."""
        try:
            return cls(
                RouteKey.parse(data["route"]),
                str(data["operation"]),
                str(data["by"]),
                data["why"],
                dict(data["from"]),
                dict(data["to"]),
                datetime.fromisoformat(data["at"]),
                str(data["host"]),
                int(data["pid"]),
                str(data.get("id") or _id_of(data)),
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("no event") from error


def events_of(transitions: Iterable[Transition], changes: Iterable[Change], cause: Cause) -> list[Event]:
    """The events that these transitions are, each of the change at its place."""
    pairs = zip(transitions, changes, strict=True)
    events = (Event.of(transition, change.settings, cause) for transition, change in pairs)
    return [event for event in events if event is not None]


def _id_of(data: Any) -> str:
    """The same one each time, for events of versions that gave them none."""
    return uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(data, sort_keys=True)).hex


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain_value(value) for name, value in settings.items()}


def plain_value(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


Mark = Mapping[str, Any]
"""How far somebody has come in the history: plain JSON, which only the state that gave it understands."""

Decision = Callable[[Switches], Iterable[Change]]
"""Looks at the switches as they are and says what to change; nothing, if what it finds is not what it expected. It may
be called again when another writer was quicker, so it has no effect of its own. What it raises ends the change."""


class State(Protocol):
    """The switches of all routes and their history. Its methods block, and may be called from any thread."""

    @property
    def place(self) -> str:
        """Where the switches are kept, for messages."""

    @property
    def fleet(self) -> Mapping[str, Any] | None:
        """Of a fleet, for people: ``name``, ``cluster``, the ``revision`` that this host is at, and the ``problem``
        where it goes on with what it knew last. None for a single host."""

    @property
    def waits(self) -> str | None:
        """What was changed here and the fleet does not have yet, in a sentence."""

    def read(self) -> Switches:
        """The switches as they are now. Raises SwitchesError when they can't be read."""

    def change(self, decide: Decision, cause: Cause) -> tuple[Transition, ...]:
        """Apply what ``decide`` says as one step that no other writer can come between, and record it.

        Raises SwitchesError when the switches can't be read or written; nothing has changed then. A history that can't
        be written is logged and stops no change: a rollback has to work on a full disk.
        """

    def last_good(self) -> Switches:
        """The switches as they were good last, which is what workers go by while those of now are broken. Raises
        SwitchesError where none are kept."""

    def set_broken_aside(self, *, or_empty: bool) -> str | None:
        """Where the switches are broken, put the last good ones in their place: no worker changes by that. Where none
        are kept, put none there with ``or_empty``: all routes are dark then. Returns where the broken ones are now;
        None where nothing was broken, and nothing has changed. Raises SwitchesError."""

    def history(self, key: RouteKey | None = None, last: int = 100) -> list[Event]:
        """The ``last`` newest changes, of ``key`` or of all routes, the newest first. Raises GraftError."""

    def newest_mark(self) -> Mark:
        """Behind the newest change. Raises GraftError."""

    def changes_after(self, mark: Mark, most: int) -> list[tuple[Event, Mark]]:
        """The ``most`` oldest changes behind ``mark``, the oldest first, each with the mark behind it. Raises
        GraftError."""

    @property
    def baselines(self) -> Baselines:
        """What the figures were when each route came to its rung."""

    def publishing(
        self,
        evidence: Callable[[], Awaitable[Mapping[RouteKey, RouteFigures]]],
        shown: Callable[[], Awaitable[Mapping[str, RouteFigures]]],
    ) -> AbstractAsyncContextManager[None]:
        """While it is open, the other hosts of a fleet hear what this one counts: ``evidence`` for each switched route
        and the code that runs, ``shown`` for each route. Belongs to the event loop."""

    def counting(self, failures: Any) -> AbstractAsyncContextManager[None]:
        """While it is open, native failures of this host (``graft.switching.host_failures``) count with those of the
        other hosts of a fleet, and trip what is too much for all. Belongs to the event loop."""

    def of_all(self, own: Mapping[str, RouteFigures], folder: Path | None = None) -> Mapping[str, RouteFigures]:
        """``own``, which this host has counted, and what the other hosts of a fleet have; ``own`` where they can't be
        asked. ``folder`` is where ``own`` was counted, if not by the workers of this process's server."""

    def hosts(self, own: Mapping[str, RouteFigures], folder: Path | None = None) -> Mapping[str, Any]:
        """Of a fleet, how many ``hosts`` live, the ``outliers`` among them, and the ``builds`` of routes that run in
        several; empty where that can't be told."""

    def lease(self, name: str) -> Lease:
        """What one process does for all that follow these switches. Opens nothing yet."""

    def places(self, name: str, path: Path) -> Places:
        """How far somebody has come in the history, for the holder of the lease ``name``; in a file of this host at
        ``path``, or where the next holder finds it, too."""

    def follow(self) -> Follower:
        """A follower of these switches, with the state of now. Raises SwitchesError when there is no good one."""


class Lease(Protocol):
    """Held by one process at a time. Its methods block; one thread at a time."""

    def take(self) -> bool:
        """Whether this process holds it from now on, or did already. A dead holder's is free at once."""

    def give_back(self) -> None:
        """Nothing happens where this process does not hold it."""


class Places(Protocol):
    """Marks by name. Its methods block; any thread."""

    def of(self, id: str) -> Mark | None: ...

    def keep(self, id: str, mark: Mark) -> None:
        """Raises OSError or GraftError: then it is where it was before."""


class Follower(Protocol):
    """A worker's copy of the switches, kept up to date while its context is open: ``async with state.follow(): ...``.

    It belongs to one event loop; ``switches`` and ``problem`` may be read from any thread.
    """

    @property
    def switches(self) -> Switches:
        """The last good state; a change is a new object."""

    @property
    def problem(self) -> GraftError | None:
        """Why there is no newer state, while that is so."""

    def subscribe(self, subscriber: Callable[[Switches], None]) -> None:
        """Have ``subscriber`` called, on the loop, with the switches of now and of each later change."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def one_line(text: str) -> str:
    """A reason as it is kept: one line without control characters, of a length that people read."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:LONGEST_REASON]
