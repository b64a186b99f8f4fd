"""The servers that can run the gateway: which one is there, how it is called, and with how many workers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Plan", "Server", "choose", "default_workers"]

CGROUP_QUOTAS = Path("/sys/fs/cgroup/cpu.max")


class Server(StrEnum):
    GUNICORN = "Gunicorn"
    UVICORN = "Uvicorn"
    FLASK = "Flask's development server"

    @property
    def package(self) -> str:
        return {self.GUNICORN: "gunicorn", self.UVICORN: "uvicorn", self.FLASK: "flask"}[self]


@dataclass(frozen=True)
class Plan:
    """What will be started. ``lost`` has one line for each thing that a full set-up would have and this one has not."""

    server: Server
    command: list[str]
    workers: int = 1
    reload: bool = False
    lost: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        try:
            return f"{self.server} {version(self.server.package)}"
        except PackageNotFoundError:
            return str(self.server)


def choose(target: str, host: str, port: int, *, workers: int, reload: bool = False) -> Plan:
    """The best server that is installed: Gunicorn with Uvicorn's worker, else Uvicorn, else the Flask app alone.

    ``target`` is the gateway as ``module:attribute``. ``reload`` asks for Uvicorn, whose reloader knows ASGI.
    """
    gunicorn, uvicorn = _installed("gunicorn") and os.name == "posix", _installed("uvicorn")
    if uvicorn and gunicorn and not reload:
        return Plan(Server.GUNICORN, _gunicorn(target, host, port, workers), workers)
    if uvicorn:
        lost = [] if gunicorn or reload else [_WITHOUT_GUNICORN]
        return Plan(Server.UVICORN, _uvicorn(target, host, port, workers, reload), workers, reload, lost)
    return Plan(
        Server.FLASK, [sys.executable, "-m", "graft.cli.plain", host, str(port)], 1, reload, list(_WITHOUT_UVICORN)
    )


def default_workers() -> int:
    """One worker for each core that this process may use, at least 2, at most 12.

    An async worker keeps a core busy by itself, so more of them only cost memory; two, so that one that dies or blocks
    leaves another; 12 is where Gunicorn's documentation sees the use of more end.
    """
    return max(2, min(12, _usable_cores()))


_WITHOUT_GUNICORN = "no gunicorn: a worker that hangs is not replaced, and reloads are not graceful"
_WITHOUT_UVICORN = (
    "no uvicorn, so the Flask app is served alone: pip install -r requirements.txt brings it",
    "no native routes, no switching, no WebSockets, no /_graft",
    "one process, not made for production",
)


def _gunicorn(target: str, host: str, port: int, workers: int) -> list[str]:
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    worker = ["--worker-class", "uvicorn.workers.UvicornWorker"]
    return [sys.executable, "-m", "gunicorn", target, *worker, "--bind", bind, "--workers", str(workers)]


def _uvicorn(target: str, host: str, port: int, workers: int, reload: bool) -> list[str]:
    # The gateway writes its own access record, with the side and the request id in it.
    command = [sys.executable, "-m", "uvicorn", target, "--host", host, "--port", str(port), "--no-access-log"]
    command += ["--http", "graft.connection.chosen:HttpProtocol"]  # as under Gunicorn
    return [*command, "--reload"] if reload else [*command, "--workers", str(workers)]


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _usable_cores() -> int:
    """Cores of the machine, less what affinity and a container's quota take away."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_QUOTAS.read_text().split()
        return min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup here, or "max": no quota
        return cores
