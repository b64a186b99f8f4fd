"""The last known state of the fleet, on this host's disk: what its workers follow, with the cluster there or not.

``switches.toml`` in the fleet's folder below GRAFT_DATA is a plain copy of the switches, followed as the file of a
single host is; ``known.json`` beside it says which revision that is. The folder has the fleet's name in its own:
another fleet begins with nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from graft import files
from graft.errors import SwitchesError
from graft.fleet.snapshot import Snapshot, Version
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.switches import read

LOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a snapshot whose text is kept. Revision 0: nothing."""

    id: str = ""
    revision: int = 0
    version: Version | None = None
    revisions: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    """a digest of the text that this is about"""
    wakes: bool = False
    """as of the snapshot"""


class LastKnown:
    """The methods block; any thread and process of the host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "switches.toml"
        self.about = folder / "known.json"

    def read(self) -> Known:
        data: Mapping[str, Any] = files.read_object(self.about)
        try:
            version = data["version"]
            return Known(
                str(data["id"]),
                int(data["revision"]),
                (int(version[0]), int(version[1])),
                dict(data["revisions"]),
                str(data["text"]),
                data.get("wakes") is True,
            )
        except (LookupError, TypeError, ValueError):
            return Known()

    def both(self) -> tuple[Known, str] | None:
        """With the text that it is about; None in the moment in which one of the two is newer."""
        known = self.read()
        try:
            text = read(self.path)
        except SwitchesError:
            return None
        return (known, text) if known.text == _digest(text) else None

    def snapshot(self) -> Snapshot | None:
        """To begin a fleet anew by, where its document is gone. None where nothing is known."""
        known = self.read()
        if not known.revision:
            return None
        try:
            text = read(self.path)
        except SwitchesError:
            return None
        return Snapshot(text, known.revision, known.revisions, id=known.id)

    def keep(self, snapshot: Snapshot, *, back: bool = False) -> None:
        """Keep ``snapshot``, if it is newer than what is known, or of a fleet that was begun anew; with ``back`` an
        older one, too. Raises OSError.

        The text goes first. Where the process dies in between, what is known is older than the text: the next look
        fetches it again, and what was decided on this host meanwhile counts as decided before it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.path, LOCK_SECONDS):
                known = self.read()
                if known.id == snapshot.id and known.revision > snapshot.revision and not back:
                    return  # another worker has come further meanwhile
                files.replace(self.path, snapshot.text.encode())
                about: dict[str, Any] = {"id": snapshot.id, "revision": snapshot.revision}
                about |= {"version": snapshot.version, "text": _digest(snapshot.text), "wakes": snapshot.wakes}
                files.replace(self.about, json.dumps({**about, "revisions": dict(snapshot.revisions)}).encode())
        except LockHeld as error:
            raise OSError(f"another process has held {error.file} for {LOCK_SECONDS:g} s") from None
        except LockUnwritable as error:
            raise error.reason from None


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
