"""Locks between processes: a lock file beside the file that is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


class LockHeld(Exception):
    """Another process has held the lock file ``file`` for all the time that was waited."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file


class LockUnwritable(Exception):
    """The lock file can't be opened, for ``reason``."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def locked(target: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of ``target`` against all processes and threads that lock it so; the folder has to be there.

    Raises LockHeld after ``seconds`` of waiting, LockUnwritable at once. The kernel lets go of it when its holder dies.
    """
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeld(str(lock.lock_file)) from None
    except OSError as error:
        raise LockUnwritable(error) from None
    try:
        give_to_owner_of_folder(Path(lock.lock_file))
        yield
    finally:
        lock.release()


def give_to_owner_of_folder(path: Path) -> None:
    """What root makes in a folder of the gateway's user is that user's: else ``sudo graft`` would lock the gateway out.

    Does nothing for other users, who can't give a file away.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with suppress(OSError):
            folder = path.parent.stat()
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)
