"""Locks between processes: a lock file beside the file that is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from graft.files import give_to_owner_of_folder


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
