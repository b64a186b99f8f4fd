"""Gateways found by their processes: for one that a person names, and no link leads to from here.

A shell of cron's or of sudo's has another XDG_RUNTIME_DIR than the one that the gateway was started in, so it looks for
links elsewhere. The process tells by its folder and its environment where its data folder is, and the record there says
the rest. Only processes of this user are believed, and those of the owner of a folder that is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from dotenv import dotenv_values

from graft.gateways import places
from graft.gateways.addresses import is_same_address
from graft.gateways.record import GatewayRecord

__all__ = ["running_at", "started_in"]


def started_in(folder: Path) -> list[GatewayRecord]:
    """The gateways that were started in ``folder``."""
    with suppress(OSError):
        owner, here = folder.stat().st_uid, folder.resolve()
        return _records((pid for pid in psutil.pids() if _folder_of(pid) == here), owner)
    return []


def running_at(address: str) -> list[GatewayRecord]:
    """The gateways that listen at ``address``, ``unix:/path`` or ``http://host:port``."""
    found = _records(_listeners(address))
    return [record for record in found if any(is_same_address(address, each) for each in record.addresses)]


def _records(pids: Iterable[int], owner: int | None = None) -> list[GatewayRecord]:
    found: dict[str, GatewayRecord] = {}
    believed = [pid for pid in set(pids) if _is_believed(pid, owner)]
    folders = {data for pid in believed if (data := _data_folder_of(pid)) is not None}
    for data in folders:
        with suppress(OSError):
            found.update({record.name: record for record in places.running_in(data)})
    return list(found.values())


def _is_believed(pid: int, owner: int | None) -> bool:
    with suppress(psutil.Error, AttributeError):  # Windows has no such numbers
        return psutil.Process(pid).uids().real in (os.getuid(), owner)
    return False


def _folder_of(pid: int) -> Path | None:
    with suppress(psutil.Error, OSError):
        return Path(psutil.Process(pid).cwd())
    return None


def _data_folder_of(pid: int) -> Path | None:
    """As ``graft.settings`` finds it: in the environment, else in the ``.env`` of the folder."""
    folder = _folder_of(pid)
    if folder is None:
        return None
    environment: dict[str, str | None] = {}
    with suppress(psutil.Error, OSError, ValueError):
        environment = {**dotenv_values(folder / ".env"), **psutil.Process(pid).environ()}
    return folder / (environment.get("GRAFT_DATA") or "var")


def _listeners(address: str) -> Iterator[int]:
    parts = urlsplit(address)
    kind, status = ("unix", psutil.CONN_NONE) if parts.scheme == "unix" else ("tcp", psutil.CONN_LISTEN)
    with suppress(psutil.Error, OSError, ValueError):
        place = parts.path if kind == "unix" else parts.port
        for each in psutil.net_connections(kind):
            if each.pid and each.status == status and place in (each.laddr, getattr(each.laddr, "port", None)):
                yield each.pid
