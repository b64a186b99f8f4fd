"""What is known of one background task: its states, its steps, its id."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse

STEPS_KEPT = 100
STEP_CHARACTERS = 500


class TaskState(StrEnum):
    WAITING = "waiting"  # taken, not begun
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # raised; ``error`` says what
    INTERRUPTED = "interrupted"  # still running when its worker's time to shut down was over
    LOST = "lost"  # its worker died without a word


UNFINISHED = (TaskState.WAITING, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Step:
    """What a task reported. ``at`` is Unix time in seconds."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One task as any worker can tell it. Times are Unix time in seconds; ``steps`` holds the last hundred."""

    id: str
    name: str
    state: TaskState
    steps: tuple[Step, ...]
    error: str | None
    request_id: str | None
    created: float
    started: float | None = None
    ended: float | None = None

    def as_json(self) -> dict[str, Any]:
        """``{"id", "name", "state", "step", "steps": [{"at", "text"}], "error", "request_id", "created", "started",
        "ended"}``, with times in ISO 8601 and null for what is not known."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "step": self.steps[-1].text if self.steps else None,
            "steps": [{"at": _iso(step.at), "text": step.text} for step in self.steps],
            "error": self.error,
            "request_id": self.request_id,
            "created": _iso(self.created),
            "started": _iso(self.started),
            "ended": _iso(self.ended),
        }

    def response(self, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse(self.as_json(), status, headers={"Cache-Control": "no-store", **(headers or {})})


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def new_id() -> str:
    """A UUID of version 7: it begins with the time, so that ids sort by age and the table grows at its end."""
    value = int.from_bytes(os.urandom(10), "big")
    value |= (time.time_ns() // 1_000_000) << 80
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return str(UUID(int=value))


def age(task_id: str) -> float | None:
    """Seconds since an id of ``new_id`` was made; None if it is none."""
    try:
        found = UUID(task_id)
    except ValueError:
        return None
    return time.time() - (found.int >> 80) / 1000 if found.version == 7 and str(found) == task_id else None
