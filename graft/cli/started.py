"""What a program was started with and hands on when it becomes another one: ``python gateway.py`` becomes the server.

The app was imported by then, once, to look at it; the server's workers import it again, and have to find the process as
the person started it, not as the first import left it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["StartedWith"]


@dataclass(frozen=True)
class StartedWith:
    """All that ``os.exec*`` hands on and an import can change. Used in the main thread."""

    folder: Path
    environ: Mapping[str, str]
    umask: int
    ignored: frozenset[signal.Signals]
    blocked: frozenset[int]
    open_files: tuple[int, int] | None

    @classmethod
    def now(cls) -> StartedWith:
        umask = os.umask(0o077)
        os.umask(umask)
        return cls(Path.cwd(), dict(os.environ), umask, _ignored(), _blocked(), _open_files())

    def restore(self) -> None:
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environ)
        os.umask(self.umask)
        for each in _ignored() - self.ignored:
            signal.signal(each, signal.SIG_DFL)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
        if self.open_files is not None and self.open_files != _open_files():
            import resource

            with suppress(ValueError, OSError):  # the app has lowered what only root may raise again
                resource.setrlimit(resource.RLIMIT_NOFILE, self.open_files)


def _ignored() -> frozenset[signal.Signals]:
    return frozenset(each for each in signal.Signals if signal.getsignal(each) is signal.SIG_IGN)


def _blocked() -> frozenset[int]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return frozenset()
    return frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _open_files() -> tuple[int, int] | None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)
