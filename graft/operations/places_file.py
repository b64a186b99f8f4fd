"""How far each address of webhooks has come, in one small file of the host."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from graft import files
from graft.operations.state import Mark


class PlacesFile:
    """``Places`` at ``path``, which the holder of the lease alone reads and writes. The methods block; any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # two addresses may have come further at the same time

    def of(self, id: str) -> Mark | None:
        return self._read().get(id)

    def keep(self, id: str, mark: Mark) -> None:
        """Raises OSError: what was taken is sent once more then."""
        with self._lock:
            files.make_data_folder(self._path.parent)
            files.replace(self._path, json.dumps({**self._read(), id: mark}).encode(), 0o600)

    def _read(self) -> dict[str, Mark]:
        return {id: mark for id, mark in files.read_object(self._path).items() if isinstance(mark, Mapping)}
