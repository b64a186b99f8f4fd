"""The switches of a fleet as one document: one for all routes, so that a change of several is one step, and a look at
whether anything has changed is one small request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from graft.operations.state import Event

MOST_EVENTS = 500

Version = tuple[int, int]
"""``_primary_term`` and ``_seq_no``: what a write of the document is compared with."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``text`` is what switches.toml would say: comments and order stay, and it is read and checked as a file is.

    ``revision`` counts the changes; ``revisions`` has that of each route's last one. ``events`` are the newest changes,
    which may not be in the history yet: who makes the next change puts them there first, so none is lost where a writer
    dies in between. ``fences`` has the highest term of each lease that wrote.
    """

    text: str
    revision: int = 0
    revisions: Mapping[str, int] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    fences: Mapping[str, int] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """another one where the fleet was begun anew"""
    version: Version | None = None
    """None before it is written"""
    wakes: bool = False
    """Whether its writer also wakes who waits for it. An older Graft does not, nor who has no right to."""

    def next(
        self, text: str, events: Sequence[Event], unrecorded: Sequence[Mapping[str, Any]], fences: Mapping[str, int]
    ) -> Snapshot:
        """After one more change. ``unrecorded`` are earlier events that the history could not take."""
        revision = self.revision + 1
        told = tuple({**event.as_data(), "revision": revision, "number": n} for n, event in enumerate(events))
        changed = {str(event.key): revision for event in events if event.after}
        return Snapshot(
            text,
            revision,
            {**self.revisions, **changed},
            (*unrecorded, *told)[-MOST_EVENTS:],
            {**self.fences, **fences},
            self.id,
            self.version,
        )

    def at(self, version: Version) -> Snapshot:
        return replace(self, version=version)

    def as_source(self, fleet: str) -> dict[str, Any]:
        return {
            "fleet": fleet,
            "id": self.id,
            "revision": self.revision,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "text": self.text,
            "revisions": dict(self.revisions),
            "events": list(self.events),
            "fences": dict(self.fences),
            "wakes": self.wakes,
        }

    @classmethod
    def of_source(cls, source: Any, version: Version) -> Snapshot:
        """Raises ValueError for what no version of this has written."""
        try:
            return cls(
                str(source["text"]),
                int(source["revision"]),
                {str(route): int(revision) for route, revision in source["revisions"].items()},
                tuple(dict(event) for event in source["events"]),
                {str(name): int(term) for name, term in source["fences"].items()},
                str(source["id"]),
                version,
                source.get("wakes") is True,
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("is no state of a fleet") from error
