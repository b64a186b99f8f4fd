"""The folders below GRAFT_DATA/metrics in which the workers of one server share their counters.

gunicorn.conf.py makes one in the master, and its workers have it by the fork; ``python gateway.py`` hands one over to
workers of Uvicorn. Whoever starts several workers in another way names a folder in PROMETHEUS_MULTIPROC_DIR. That
variable is prometheus_client's and so the app's: it is read here, and never set.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import socket
import sys
from pathlib import Path

from graft import files
from graft.errors import SettingError

SETTING = "PROMETHEUS_MULTIPROC_DIR"

HANDED_OVER = "GRAFT_METRICS_FOLDER"
"""From ``python gateway.py`` to workers that are no forks; taken out of the environment before the app sees it."""

log = logging.getLogger("graft")


def _of_the_environment() -> Path | None:
    if handed_over := os.environ.pop(HANDED_OVER, None):
        return Path(handed_over)
    named = os.environ.get(SETTING)
    return Path(named).absolute() / "graft" if named else None  # beside the app's own files, if it has any there


shared: Path | None = _of_the_environment()
"""Where this server's workers count together; None where each counts for itself. Set before the first worker, by the
master."""


def fresh(data: Path) -> Path:
    """An empty folder under ``data``/metrics for the workers of this server.

    Each server has its own, named by its host and pid: one that is being replaced keeps counting while its successor
    starts, and containers that share a data folder leave each other alone. Those whose server is gone are removed.
    Raises SettingError when there can be none.
    """
    parent = data.resolve() / "metrics"
    folder = parent / f"{socket.gethostname()}-{os.getpid()}"
    try:
        files.make_folder_in_data(parent)
        for old in parent.iterdir():
            pid = _pid(old)
            if pid is not None and (pid == os.getpid() or not _alive(pid)):
                shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        mend = "Make room, let this user write there, or name another folder."
        raise SettingError("GRAFT_DATA", f"{folder} can't be made: {error.strerror}", mend) from error
    return folder


def server_name() -> str:
    """Names those who count together: the workers of this server, or this process alone."""
    return shared.name if shared is not None else f"{socket.gethostname()}-{os.getpid()}"


def newest(data: Path) -> Path | None:
    """The folder below PROMETHEUS_MULTIPROC_DIR, else the newest in ``data``/metrics; a running server's before
    others."""
    if shared is not None:
        return shared if shared.is_dir() else None
    try:
        folders = [folder for folder in (data / "metrics").iterdir() if folder.is_dir()]
        return max(folders, key=lambda folder: (is_running(folder), folder.stat().st_mtime), default=None)
    except OSError:
        return None


def is_running(folder: Path) -> bool:
    """Whether the server that counts in ``folder`` runs on this machine."""
    pid = _pid(folder)
    return pid is not None and _alive(pid)


def warn_if_unshared() -> None:
    """Say so in the log where workers count each for itself; by the first of them, where it is known which that is."""
    if _counts_unshared() and multiprocessing.current_process().name.endswith(("-1", "MainProcess")):
        log.warning(
            "each worker counts for itself: /_graft, its metrics and graft promote see only the worker that answers. "
            "Set PROMETHEUS_MULTIPROC_DIR to an empty folder before the start, or start by: "
            "python gateway.py --workers N"
        )


def _counts_unshared() -> bool:
    if shared is not None:
        return False
    if "gunicorn.arbiter" in sys.modules and os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        return True  # it runs without our gunicorn.conf.py
    config = getattr(multiprocessing.current_process(), "_kwargs", {}).get("config")  # Uvicorn's, in a child of it
    return getattr(config, "workers", 1) > 1 and not getattr(config, "should_reload", False)


def _pid(folder: Path) -> int | None:
    """The server's process, if it is one of this machine."""
    host, _, pid = folder.name.rpartition("-")
    return int(pid) if host == socket.gethostname() and pid.isascii() and pid.isdigit() else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
