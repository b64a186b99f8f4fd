"""What the server of this process knows of itself, for the record: its addresses, and which process it is.

Gunicorn's master imports this module, and its workers have by the fork what it told.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from graft.gateways import places
from graft.gateways.addresses import http_address
from graft.settings import Settings

__all__ = ["addresses", "pid", "remove_record", "serves_at"]


def serves_at(addresses: Iterable[str], server: int | None = None) -> None:
    """The server listens at ``addresses``, ``unix:/path`` or ``http://host:port``; ``server`` is its process, where it
    is not the one that it would be taken for."""
    global _addresses, _server
    _addresses, _server = tuple(addresses), server


_addresses: tuple[str, ...] | None = None
_server: int | None = None


def addresses(settings: Settings) -> tuple[str, ...]:
    """What the server has told, else what the settings say."""
    if _addresses is not None:
        return _addresses
    return (http_address(settings.host, settings.port),) if settings.port else ()


def pid() -> int:
    """The process that a person signals: Gunicorn's master, Uvicorn's supervisor, or this one."""
    if _server is not None:
        return _server
    if "gunicorn.arbiter" in sys.modules and os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        return os.getppid()  # without Graft's configuration file
    supervisor = multiprocessing.parent_process()  # Uvicorn's, of several workers or of one that is reloaded
    return os.getpid() if supervisor is None or supervisor.pid is None else supervisor.pid


def remove_record(data: Path) -> None:
    """Remove the record of this process from ``data``, and the link to it. (the server's process, at its end)"""
    name = f"{socket.gethostname()}-{os.getpid()}.json"
    with suppress(OSError):
        (data / places.FOLDER / name).unlink(missing_ok=True)
    for folder in places.links_to_write():
        with suppress(OSError):
            if not (folder / places.FOLDER / name).exists():  # it led to what was just removed
                (folder / places.FOLDER / name).unlink()
