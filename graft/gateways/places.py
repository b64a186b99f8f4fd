"""Where the records of gateways are: in ``GRAFT_DATA/gateways``, with links to them at places of the machine.

So that ``graft`` finds a gateway from any folder, each also links its record in the first of these folders that it may
write to: systemd's RUNTIME_DIRECTORY (/run/graft in the shipped unit), XDG_RUNTIME_DIR/graft, /run/graft where it is
there, and /tmp/graft-UID for users who have none of them.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from graft.gateways.record import GatewayRecord

__all__ = ["SYSTEM", "links_to_read", "links_to_write", "records_in", "running_here", "running_in"]

SYSTEM = Path("/run/graft")
FOLDER = "gateways"


def records_in(folder: Path) -> list[GatewayRecord]:
    """The records in ``folder``, a data folder or one with links. Raises PermissionError where it may not be read."""
    return list(_read(folder / FOLDER))


def running_in(data: Path) -> list[GatewayRecord]:
    """The gateways that run with this data folder, one record for each. Raises PermissionError."""
    return _one_each(record for record in records_in(data) if record.is_running)


def running_here() -> list[GatewayRecord]:
    """The gateways of this machine that this user may see: those that are linked where it looks."""

    def records() -> Iterator[GatewayRecord]:
        for folder in links_to_read():
            with suppress(PermissionError):
                yield from _read(folder / FOLDER, suppressed=(PermissionError,))

    return _one_each(record for record in records() if record.is_running)


def hidden() -> list[Path]:
    """The folders and records that this user may not read."""
    folders = [folder / FOLDER for folder in dict.fromkeys(links_to_read())]
    return [
        path
        for folder in folders
        for path in (folder, *_entries(folder))
        if _exists(path) and not os.access(path, os.R_OK)
    ]


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def links_to_write() -> Iterator[Path]:
    """The folders of this process, the best first. The last one is made here, for nobody else to write to."""
    for name in os.environ.get("RUNTIME_DIRECTORY", "").split(":"):
        if name:
            yield Path(name)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(session) / "graft"
    if SYSTEM.is_dir():
        yield SYSTEM
    if (own := temporary()) is not None:
        with suppress(OSError):
            own.mkdir(0o700, exist_ok=True)
        if _is_ours(own):
            yield own


def links_to_read() -> Iterator[Path]:
    """The folders that this user can believe: those of the system and its own. Root does not look into other users',
    who could have it load their code."""
    yield SYSTEM
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(session) / "graft"
    if hasattr(os, "getuid"):
        yield Path(f"/run/user/{os.getuid()}/graft")
    if (own := temporary()) is not None and _is_ours(own):
        yield own


def temporary() -> Path | None:
    """The place of a user who has no other one; None on systems without users."""
    return Path(tempfile.gettempdir()) / f"graft-{os.getuid()}" if hasattr(os, "getuid") else None


def _is_ours(folder: Path) -> bool:
    """In /tmp anybody can make a folder of this name first."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _read(folder: Path, suppressed: tuple[type[OSError], ...] = ()) -> Iterator[GatewayRecord]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        with suppress(FileNotFoundError, ValueError, *suppressed):  # it has just ended, or is no record
            yield GatewayRecord.of_text((folder / name).read_text(encoding="utf-8"))


def _one_each(records: Iterable[GatewayRecord]) -> list[GatewayRecord]:
    """While a master replaces another one (USR2) there are two records of one gateway: the later one counts."""
    found: dict[tuple[str, Path], GatewayRecord] = {}
    for record in records:
        key = record.settings["GRAFT_SWITCHES"], record.data
        if key not in found or _age(record) >= _age(found[key]):
            found[key] = record
    return list(found.values())


def _age(record: GatewayRecord) -> float:
    with suppress(ValueError):
        return float(record.started)
    return 0.0
