"""prometheus_client as Graft uses it: the registry, and all that touches parts of it which are not documented.

Read in prometheus_client 0.21 to 0.26. Those parts are looked for when this module is imported. Where one is missing
Graft does without, and ``MISSING`` says what is worse for it:

- Files that have all their blocks before they are mapped. prometheus_client maps files with holes; when a hole is
  written to and the disk has no room, the kernel kills the process with SIGBUS: a full disk would take every worker
  away, and each new one after it. Where there is no room, the figures stay in this worker's own memory.
- Many observations handed over at once, at a tenth of the cost of one by one.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from prometheus_client import CollectorRegistry, Histogram, mmap_dict, values
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds."""

MISSING: list[str] = []
"""A sentence for each part that the installed prometheus_client does not have."""

log = logging.getLogger("graft")


def merged(folder: Path | None = None) -> CollectorRegistry:
    """What all workers that share ``folder`` counted, by default the one in PROMETHEUS_MULTIPROC_DIR; where there is
    none, what this process did."""
    if folder is None and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder) if folder else None)  # type: ignore[no-untyped-call]
    return registry


def _names(function: Any) -> set[str]:
    """The attributes that a function of the library uses: those of an instance can't be seen on its class."""
    code = getattr(function, "__code__", None)
    return set(code.co_names) if code is not None else set()


# Many observations at once.

OBSERVES_MANY = {"_buckets", "_sum"} <= _names(Histogram.observe)
if not OBSERVES_MANY:
    MISSING.append("prometheus_client has no Histogram._buckets and _sum: each request is counted by itself")


def observe_many(histogram: Histogram, counts: Sequence[int], total: float) -> None:
    """As ``histogram.observe`` so many times in each bucket, the last of which is infinity; ``total`` seconds in all.

    ``histogram`` has its labels. Only where OBSERVES_MANY. A test compares the two ways.
    """
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(count)
    histogram._sum.inc(total)


# Files without holes.

_INITIAL: int = getattr(mmap_dict, "_INITIAL_MMAP_SIZE", 1 << 16)
_MappedDict: Any = getattr(mmap_dict, "MmapedDict", object)


class WholeFile(_MappedDict):  # type: ignore[misc]
    """prometheus_client's dict of figures; all of its file is there, or it is in memory."""

    _f: Any
    _m: Any
    _capacity: int
    _used: int

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if read_mode or os.path.exists(filename):
            super().__init__(filename, read_mode)
            return
        with _made(filename) as file:
            super().__init__(filename if file.name == filename else f"/proc/self/fd/{file.fileno()}")

    def _init_value(self, key: str) -> None:
        while self._used + _size(key) > self._capacity:
            self._grow()
        super()._init_value(key)

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


def _has_mapped_files() -> bool:
    state = {"_f", "_m", "_capacity", "_used", "_fname"}
    return (
        hasattr(mmap_dict, "_INITIAL_MMAP_SIZE")
        and hasattr(values, "MmapedDict")
        and hasattr(_MappedDict, "_init_value")
        and state <= _names(_MappedDict.__init__)
    )


if _has_mapped_files():
    values.MmapedDict = WholeFile  # type: ignore[attr-defined]  # for all metrics that are made from now on
else:
    MISSING.append("prometheus_client maps its files in another way: on a full disk workers may be killed by SIGBUS")

REGISTRY = CollectorRegistry()
"""The metrics of this process. Made after the files were seen to: a metric opens its file when it is made."""
