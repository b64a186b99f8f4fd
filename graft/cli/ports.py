"""Can we listen on this address, and if not, who does?"""

from __future__ import annotations

import errno
import os
import shlex
import socket
from contextlib import suppress
from dataclasses import dataclass

import psutil

from graft.errors import SettingError

__all__ = ["Holder", "PortInUse", "address", "check", "holder_of", "next_free"]

TRIED_PORTS = 200


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port. ``command`` is its command line, cut to one readable line."""

    pid: int
    name: str
    command: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}: {self.command})" if self.command else f"{self.name} (pid {self.pid})"


class PortInUse(SettingError):
    """Somebody listens on HOST:PORT already. ``free`` is a port that nobody has, or None."""

    def __init__(self, host: str, port: int, holder: Holder | None, free: int | None) -> None:
        self.holder = holder
        self.free = free
        who = str(holder) if holder else "another process, which this user may not see"
        mend = f"Port {free} is free." if free else "Stop that process, or name another port."
        super().__init__("PORT", f"{address(host, port)} is in use by {who}", mend)


def address(host: str, port: int) -> str:
    """``host:port``, with the brackets that IPv6 needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check(host: str, port: int) -> None:
    """Return when a server could listen on ``host:port`` now; port 0 always can.

    Raises PortInUse, or SettingError when the host is unknown here or the port needs more rights.
    """
    try:
        _listen_once(host, port)
    except socket.gaierror as error:
        raise SettingError("HOST", f"{host!r} is no address ({error.strerror})", _HOST_MEND) from None
    except OSError as error:
        raise _named(error, host, port) from None


def next_free(host: str, port: int) -> int | None:
    """The first free port above ``port``, or None if the next couple of hundred are all taken."""
    for candidate in range(port + 1, min(port + 1 + TRIED_PORTS, 65536)):
        with suppress(OSError):
            _listen_once(host, candidate)
            return candidate
    return None


def holder_of(port: int) -> Holder | None:
    """The process that listens on ``port``; None if there is none, or if this user may not see it."""
    holders = {process.pid: process for process in psutil.process_iter() if _listens(process, port)}
    for process in holders.values():
        with suppress(psutil.Error):  # gone by now
            if process.ppid() not in holders:  # a Gunicorn arbiter rather than one of its workers
                return _described(process)
    return None


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:  # gone by now, or another user's
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


_HOST_MEND = "127.0.0.1 is this machine only, 0.0.0.0 every network it is on."


def _listen_once(host: str, port: int) -> None:
    """Bind and listen as the servers do, and let go again. Raises OSError when that can't be done."""
    family, kind, proto, _, where = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, proto) as trial:
        if os.name == "posix":  # there it means "a port in TIME_WAIT is free", on Windows "share it with others"
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(where)
        trial.listen(1)


def _named(error: OSError, host: str, port: int) -> SettingError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(host, port, holder_of(port), next_free(host, port))
    if error.errno == errno.EACCES:
        return SettingError(
            "PORT", f"{port} may only be opened by root", "Take one from 1024 up; Nginx can hold 80 and 443."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingError("HOST", f"{host} is not an address of this machine", _HOST_MEND)
    return SettingError("HOST", f"can't listen on {address(host, port)} ({error.strerror})", _HOST_MEND)


def _described(process: psutil.Process) -> Holder:
    name, command = "a process", ""
    with suppress(psutil.Error):
        name = _one_line(process.name())
        command = _one_line(shlex.join(process.cmdline()))[:120]
    return Holder(process.pid, name, command)


def _one_line(text: str) -> str:
    """The command line of another process is foreign text: one line, no control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
