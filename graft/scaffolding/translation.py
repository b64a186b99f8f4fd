"""The view's source as a native route, as far as there is one right translation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Translation:
    """``function`` is the native function; ``marks`` say what is left to do, line by line."""

    function: str
    imports: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not self.marks
