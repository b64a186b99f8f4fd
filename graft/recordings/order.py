"""What a running gateway is asked to record: a file in GRAFT_DATA, which all of its workers follow.

Who may write there may ask for it; there is one at a time. The file is removed when it is over: by the command that
made it, by ``graft record --stop``, or by the worker that finds no more room. Workers go by ``until`` themselves, so
one that is left behind records nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from graft import files

FILE = "recording.json"
FOLDER = "recordings"


@dataclass(frozen=True, slots=True)
class Order:
    """``routes`` are the keys of the rules that are recorded, all if there are none; ``sample`` is a percentage,
    ``until`` in seconds since 1970, ``most_bytes`` of all files together."""

    id: str
    routes: tuple[str, ...]
    sample: float
    until: float
    most_bytes: int

    @property
    def is_over(self) -> bool:
        return time.time() >= self.until

    def write(self, data: Path) -> bool:
        """False where another one is on the way. Raises OSError."""
        path = data / FILE
        there = read_order(data)
        if there is not None and not there.is_over:
            return False
        path.unlink(missing_ok=True)
        return files.create(path, json.dumps(asdict(self)).encode(), 0o600)

    def remove(self, data: Path) -> None:
        """If it is still this one. Raises no OSError."""
        there = read_order(data)
        if there is not None and there.id == self.id:
            with suppress(OSError):
                (data / FILE).unlink()

    def recordings(self, data: Path) -> Iterator[Path]:
        """The files that workers have made for it, one each."""
        yield from sorted((data / FOLDER).glob(f"{self.id}-*.har"))

    def size(self, data: Path) -> int:
        total = 0
        for path in self.recordings(data):
            with suppress(OSError):
                total += path.stat().st_size
        return total


def read_order(data: Path) -> Order | None:
    """The one in ``data``; None where there is none, or the file is something else."""
    found = files.read_object(data / FILE)
    try:
        name = str(found["id"])
        if not name.replace("-", "").isalnum():
            return None
        routes = tuple(map(str, found["routes"]))
        return Order(name, routes, float(found["sample"]), float(found["until"]), int(found["most_bytes"]))
    except (LookupError, TypeError, ValueError):
        return None
