"""Which workers are alive: each holds a lock on a file of its own, which the system takes away when it dies.

A pid would not do: pids are used again, and two containers that share a folder have the same ones.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4
from weakref import WeakSet

from graft import files

LEFT_BEHIND = 3600.0  # seconds after which the file of a dead worker without tasks is removed

if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        """Take the lock, unless another has it; it goes when the descriptor is closed."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class Presence:
    """This worker's sign of life in ``folder``, from ``show()`` to ``end()``."""

    def __init__(self, folder: Path) -> None:
        self.worker = uuid4().hex
        self._folder = folder
        self._descriptor: int | None = None
        _instances.add(self)

    def show(self) -> None:
        """Before the first task is written down. Raises OSError when the folder can't be written."""
        if self._descriptor is None:
            files.make_folder_in_data(self._folder)
            descriptor = os.open(self._path(self.worker), os.O_RDWR | os.O_CREAT, 0o600)
            _locked(descriptor)
            self._descriptor = descriptor

    def renew(self) -> None:
        """Show it again where somebody has taken the file away. Raises OSError."""
        before = self._descriptor
        if before is None:
            return
        try:
            shown = os.path.samestat(self._path(self.worker).stat(), os.fstat(before))
        except FileNotFoundError:
            shown = False
        if not shown:
            self._descriptor = None
            try:
                self.show()
            except OSError:
                self._descriptor = before
                raise
            os.close(before)

    def end(self) -> None:
        if self._descriptor is not None:
            self.let_go()
            with suppress(OSError):
                self._path(self.worker).unlink()

    def let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def is_alive(self, worker: str) -> bool:
        """Does the worker with this name still run?"""
        if worker == self.worker:
            return True
        try:
            descriptor = os.open(self._path(worker), os.O_RDWR)
        except FileNotFoundError:
            return False
        except OSError:  # not ours to open: take no task from a worker that may well run
            return True
        try:
            return not _locked(descriptor)
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Remove the files of workers that are long gone."""
        for path in self._folder.glob("*.lock"):
            with suppress(OSError):
                old = time.time() - path.stat().st_mtime > LEFT_BEHIND
                if old and not self.is_alive(path.stem):
                    path.unlink()

    def _path(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"


_instances: WeakSet[Presence] = WeakSet()


def _let_go_in_child() -> None:
    """A forked child has its parent's descriptors, and would keep the lock when the parent is dead."""
    for presence in _instances:
        presence.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
