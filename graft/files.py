"""Files that are whole or not there: the one writer of switches, tokens, keys, baselines and what ``graft init`` makes.

A reader sees the old content or the new one, and after a power cut one of the two is on the disk. When the write fails
(full disk, read-only folder) the old content stays and no scrap is left. The functions block; any thread and
process may call them. Writers that read first need a lock of their own.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def make_data_folder(folder: Path) -> None:
    """See that ``folder``, which is GRAFT_DATA, is there. Raises OSError.

    One that is made is its owner's alone, and git leaves it out: there will be keys, and answers that users got. One
    that is there already stays as its owner made it.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # another worker has made it this instant, or it is a file, which is told below
        folder.mkdir(0o700)
        give_to_owner_of_folder(folder)
        with suppress(OSError):  # a full disk: folders are made there, and files are not
            create(folder / ".gitignore", b"*\n")
    folder.mkdir(exist_ok=True)


def make_folder_in_data(folder: Path) -> None:
    """See that ``folder``, which is in GRAFT_DATA, is there. Raises OSError."""
    if not folder.is_dir():
        with suppress(FileExistsError):  # a file in the folder's place is told by the next line
            make_data_folder(folder.parent)
        folder.mkdir(exist_ok=True)


def keep_to_owner(path: Path) -> None:
    """Make ``path`` if it is not there, with mode 0600; take it from all other users if it is. Raises OSError.

    What its owner gave to a group stays the group's. For files that others write: SQLite gives those that it makes
    beside it the same mode.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        give_to_owner_of_folder(path)
    except FileExistsError:
        mode = path.stat().st_mode & 0o7777
        if mode & 0o007:
            with suppress(PermissionError):  # it is somebody else's
                path.chmod(mode & ~0o007)


def opener_of_own(path: str, flags: int) -> int:
    """For ``open``: a file that it makes is its owner's alone."""
    return os.open(path, flags, 0o600)


def replace(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write ``content`` to ``path``, whose folder has to be there. Raises OSError.

    A symlink is followed and stays. Mode and owner of an existing file are kept; a new one has ``mode``, less the
    umask.
    """
    target = Path(os.path.realpath(path))
    with _draft(target, content, mode) as draft:
        with suppress(FileNotFoundError):
            _copy_owner_and_mode(target, draft)
        try:
            os.replace(draft, target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _overwrite(target, content)
    _sync_folder(target.parent)


def create(path: Path, content: bytes, mode: int = 0o666) -> bool:
    """Make ``path`` with ``content``. False, and nothing is written, when there is one already. Raises OSError.

    ``mode`` holds from the first moment, less the umask. Of several callers at once one makes the file, the others find
    it whole.
    """
    with _draft(path, content, mode) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        except OSError:
            # No hard links here (FAT, some network file systems). The second best: nobody else's file is overwritten,
            # but one that looks at this very moment may see it empty.
            if not _create_in_place(path, content, mode):
                return False
    _sync_folder(path.parent)
    return True


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; an empty one where there is none, or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def give_to_owner_of_folder(path: Path) -> None:
    """What root makes in a folder of the gateway's user is that user's: else ``sudo graft`` would lock the gateway out.

    Does nothing for other users, who can't give a file away.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with suppress(OSError):
            folder = path.parent.stat()
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


@contextmanager
def _draft(target: Path, content: bytes, mode: int = 0o666) -> Iterator[Path]:
    """A file of another name beside ``target``, on the disk; gone at the end unless it was renamed."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            # Before it gets its name: else a power cut may leave the name with nothing behind it.
            os.fsync(file.fileno())
        give_to_owner_of_folder(draft)
        yield draft
    finally:
        with suppress(OSError):
            draft.unlink()


def _copy_owner_and_mode(target: Path, draft: Path) -> None:
    old = target.stat()
    with suppress(PermissionError, AttributeError):  # only root may give a file away; Windows has no chown
        os.chown(draft, old.st_uid, old.st_gid)
    draft.chmod(old.st_mode & 0o7777)


def _overwrite(target: Path, content: bytes) -> None:
    """A single file that is a mount point (``docker -v ./switches.toml:/app/switches.toml``) can't be replaced.

    Readers may see half of it for an instant. A disk that fills up meanwhile gets the old content back, which has room.
    """
    with target.open("r+b") as file:
        old = file.read()
        try:
            _rewrite(file.fileno(), content)
        except OSError:
            with suppress(OSError):
                _rewrite(file.fileno(), old)
            raise


def _rewrite(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        os.lseek(descriptor, written, os.SEEK_SET)
        written += os.write(descriptor, content[written:])
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _create_in_place(path: Path, content: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        give_to_owner_of_folder(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk when its folder is."""
    with suppress(OSError):  # Windows can't open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
