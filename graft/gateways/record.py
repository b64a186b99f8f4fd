"""What a running gateway says of itself: one JSON file per server, which ``graft`` finds and reads."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

__all__ = ["GatewayRecord", "start_of"]


@dataclass(frozen=True)
class GatewayRecord:
    """One gateway. ``pid`` is the process that a person signals: Gunicorn's master, Uvicorn's supervisor, or the one
    process that serves. No secret is in it.

    ``started`` tells that process from a later one of the same number. ``addresses`` are ``unix:/path`` or
    ``http://host:port``; empty where the server did not say. ``settings`` are the environment variables that say where
    things are, as the gateway has understood them. ``folder`` is the one that it was started in.
    """

    pid: int
    started: str
    host: str
    version: str
    folder: Path
    addresses: tuple[str, ...]
    settings: Mapping[str, str]

    @property
    def data(self) -> Path:
        return Path(self.settings["GRAFT_DATA"])

    @property
    def switches(self) -> Path:
        return Path(self.settings["GRAFT_SWITCHES"])

    @property
    def name(self) -> str:
        """Its file. Containers that share a data folder have the same pids, and hosts of their own."""
        return f"{self.host}-{self.pid}.json"

    @property
    def is_running(self) -> bool:
        """Whether that process is there, on this machine; one that is a zombie is not."""
        return self.host == socket.gethostname() and start_of(self.pid) == self.started

    def __str__(self) -> str:
        where = f"at {self.addresses[0]}" if self.addresses else "at an address that it does not say"
        return f"the gateway {where} (process {self.pid}, started in {self.folder})"

    def text(self) -> str:
        return json.dumps({**asdict(self), "folder": str(self.folder)}, indent=2) + "\n"

    @classmethod
    def of_text(cls, text: str) -> GatewayRecord:
        """Raises ValueError for anything else than ``text()`` of this version or a later one."""
        data: Any = json.loads(text)
        try:
            return cls(
                int(data["pid"]),
                str(data["started"]),
                str(data["host"]),
                str(data["version"]),
                Path(data["folder"]),
                tuple(map(str, data["addresses"])),
                {name: str(data["settings"][name]) for name in ("GRAFT_DATA", "GRAFT_SWITCHES")}
                | {str(name): str(value) for name, value in data["settings"].items()},
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("no record") from error


def start_of(pid: int) -> str | None:
    """When the process started, in a form that only compares; None when there is none, or it has ended.

    On Linux from the process's own file, in ticks since the start of the machine: a clock that is set changes nothing,
    and a systemd unit with ``ProcSubset=pid`` sees that file and not the one that psutil needs.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, IndexError):
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None
