"""The files of the workers' metrics, on a disk that may be full.

prometheus_client maps files into memory that have holes. When such a hole is written to and the disk has no room, the
kernel kills the process with SIGBUS: a full disk would take every worker away, and each new one after it. Here a file
has all its blocks before it is mapped, and where there is no room, the figures stay in this worker's own memory.
"""

from __future__ import annotations

import logging
import mmap
import os
from contextlib import suppress
from typing import IO, Any

from prometheus_client import mmap_dict, values

log = logging.getLogger("graft")

_INITIAL: int = mmap_dict._INITIAL_MMAP_SIZE


class WholeFile(mmap_dict.MmapedDict):
    """prometheus_client's dict of figures; all of its file is there, or it is in memory."""

    _f: Any
    _m: Any
    _capacity: int
    _used: int

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if read_mode or os.path.exists(filename):
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
            return
        with _made(filename) as file:
            super().__init__(filename if file.name == filename else f"/proc/self/fd/{file.fileno()}")  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        while self._used + _size(key) > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        """Twice the size. What others have read so far stays where it was, should the rest have to go to memory."""
        try:
            _append_zeros(self._f, self._capacity)
        except OSError as error:
            self._f.truncate(self._capacity)
            moved = _memory(self._fname, error)
            os.write(moved.fileno(), self._m[:])
            _append_zeros(moved, self._capacity)
            self._f.close()
            self._f = moved
        self._capacity *= 2
        self._m = mmap.mmap(self._f.fileno(), self._capacity)


def install() -> None:
    """Have prometheus_client use it for all metrics that are made from now on."""
    values.MmapedDict = WholeFile  # type: ignore[attr-defined]


def _made(filename: str) -> IO[bytes]:
    """A new file of the first size, at ``filename`` or in memory."""
    try:
        with open(filename, "ab", buffering=0) as file:
            _append_zeros(file, _INITIAL)
        return open(filename, "rb")
    except OSError as error:
        with suppress(OSError):
            os.unlink(filename)  # one that is not whole can't be read either
        moved = _memory(filename, error)
        _append_zeros(moved, _INITIAL)
        return moved


def _append_zeros(file: IO[bytes], count: int) -> None:
    """Raises OSError when there is no room. ``file`` appends."""
    while count:
        count -= os.write(file.fileno(), bytes(count))


def _memory(filename: str, error: OSError) -> IO[bytes]:
    """Raises ``error`` where the system has no files in memory."""
    if not hasattr(os, "memfd_create"):
        raise error
    log.error(
        "%s can't be written: %s. The metrics of this worker miss what comes from now on", filename, error.strerror
    )
    return os.fdopen(os.memfd_create("graft-metrics"), "a+b", buffering=0)


def _size(key: str) -> int:
    """Bytes of one entry: its length, the key padded to eight bytes, two doubles."""
    length = len(key.encode("utf-8"))
    return 4 + length + (8 - (length + 4) % 8) + 16
