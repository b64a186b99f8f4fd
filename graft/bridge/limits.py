"""What one request may take: time, bytes, and how far a stream may be ahead of its reader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes; None is off. ``window`` is how many bytes a response may be ahead of its client."""

    timeout: float | None
    max_body: int | None
    stall_timeout: float | None
    window: int
