"""Locks between processes: a lock file beside the file that is written, and leases."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from graft import files


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
    lock = _file_lock(target.with_name(f".{target.name}.lock"), timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeld(str(lock.lock_file)) from None
    except OSError as error:
        raise LockUnwritable(error) from None
    try:
        files.give_to_owner_of_folder(Path(lock.lock_file))
        yield
    finally:
        lock.release()


class FileLease:
    """What one process of the host does for all of them: it is the one that holds the lock of ``path``.

    The kernel lets go of it when its holder dies, so the next one that asks takes over. The methods block for as long
    as a file takes to open; one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None
        self._process = 0
        self._identity: tuple[int, int] | None = None

    def take(self) -> bool:
        """Whether this process holds it from now on, or did already. False where it can't be had."""
        if self._lock is None or self._process != os.getpid():  # with --preload it is made before the workers are
            self._lock, self._process = _file_lock(self._path, timeout=0, thread_local=False), os.getpid()
            self._identity = None
        if self._identity is not None and self._identity == self._found():
            return True
        # Deleted with its folder, perhaps made anew by another process, which holds that one now.
        self.give_back()
        try:
            files.make_data_folder(self._path.parent)
            self._lock.acquire()
        except (Timeout, OSError):
            return False
        files.give_to_owner_of_folder(self._path)
        self._identity = self._found()
        return self._identity is not None

    def give_back(self) -> None:
        """Nothing happens where this process does not hold it."""
        self._identity = None
        if self._lock is not None and self._process == os.getpid():
            self._lock.release()

    def _found(self) -> tuple[int, int] | None:
        try:
            stat = os.stat(self._path)
        except OSError:
            return None
        return stat.st_dev, stat.st_ino


def _file_lock(path: Path, **options: Any) -> FileLock:
    """filelock writes debug lines about each step of each lock, which would fill the log file of an app that keeps
    such lines. Those about the app's own locks are its own."""
    _quiet.add(str(path))
    return FileLock(path, **options)


_quiet: set[str] = set()


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not (isinstance(record.args, tuple) and len(record.args) > 1 and str(record.args[1]) in _quiet)


logging.getLogger("filelock").addFilter(_is_not_ours)
