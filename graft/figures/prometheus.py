"""prometheus_client as Graft uses it: the registry, and all that touches parts of it which are not documented.

Read in prometheus_client 0.21 to 0.26. Those parts are looked for when this module is imported. Where one is missing
Graft does without, and ``MISSING`` says what is worse for it:

- Values of Graft's own, in the folder of ``graft.figures.folders``. prometheus_client keeps the values of every metric
  of the process in one place, which PROMETHEUS_MULTIPROC_DIR decides: that place and that variable are the app's.
- Files that have all their blocks before they are mapped. prometheus_client maps files with holes; when a hole is
  written to and the disk has no room, the kernel kills the process with SIGBUS: a full disk would take every worker
  away, and each new one after it. Where there is no room, the figures stay in this worker's own memory.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
from contextlib import suppress
from types import FunctionType, SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import prometheus_client
from prometheus_client import CollectorRegistry, mmap_dict
from prometheus_client.multiprocess import MultiProcessCollector

from graft.figures import folders

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram, Summary

__all__ = [
    "MISSING",
    "REGISTRY",
    "Counter",
    "Gauge",
    "Histogram",
    "SharedValue",
    "Summary",
    "WholeFile",
    "merged",
    "restore",
]

MISSING: list[str] = []
"""A sentence for each part that the installed prometheus_client does not have."""

log = logging.getLogger("graft")


def merged() -> CollectorRegistry:
    """What all workers that share a folder counted, but for the routes, which ``graft.figures.shared`` has; where there
    is none, what this process did. So it is for a folder that is gone and can't be made again."""
    restore()
    folder = folders.shared
    if folder is None or not folder.is_dir():
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry


def _names(function: Any) -> set[str]:
    """The attributes that a function of the library uses: those of an instance can't be seen on its class."""
    code = getattr(function, "__code__", None)
    return set(code.co_names) if code is not None else set()


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

    @property
    def is_gone(self) -> bool:
        """Whether its name leads nowhere, or to another file."""
        try:
            return not os.path.samestat(os.stat(self._fname), os.fstat(self._f.fileno()))
        except OSError:
            return True

    def restore(self, lock: threading.Lock) -> None:
        """Put a file with the same figures where it was. Raises OSError, and goes on counting as before.

        ``lock`` is held by all who write figures, also on the loop: here it is for the copying from memory to memory
        alone. What touches the disk comes before and after.
        """
        draft = f"{self._fname}.{threading.get_ident()}"  # who collects looks for *.db
        os.makedirs(os.path.dirname(draft), exist_ok=True)
        try:
            file = open(draft, "a+b", buffering=0)  # noqa: SIM115
            try:
                capacity = self._capacity
                _append_zeros(file, capacity)
                mapped = mmap.mmap(file.fileno(), capacity)
                with lock:
                    if self._capacity != capacity:  # it has grown since: the next look finds it gone again
                        os.unlink(draft)
                        return
                    mapped[:] = self._m[:]
                    self._f, file = file, self._f
                    self._m = mapped
                os.replace(draft, self._fname)
            finally:
                file.close()
        except OSError:
            with suppress(OSError):
                os.unlink(draft)
            raise


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
        and hasattr(_MappedDict, "_init_value")
        and state <= _names(_MappedDict.__init__)
    )


_File: Any = WholeFile
if not _has_mapped_files():
    _File = _MappedDict
    MISSING.append("prometheus_client maps its files in another way: on a full disk workers may be killed by SIGBUS")

# Values of Graft's own.


class SharedValue:
    """One number of a metric: in a file of this process in the folder that the workers share, else in its memory.

    Has the interface of prometheus_client's MutexValue. Used by any thread.
    """

    def __init__(
        self,
        kind: str,
        metric: str,
        name: str,
        labels: list[str],
        label_values: list[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> None:
        self._prefix = f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind
        self._key: str = mmap_dict.mmap_key(metric, name, labels, label_values, help_text)
        self._exemplar: Any = None
        with _files.lock:
            self._open()

    def inc(self, amount: float) -> None:
        with _files.lock:
            self._after_a_fork()
            self._write(self._value + amount, 0.0)

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _files.lock:
            self._after_a_fork()
            self._write(value, timestamp or 0.0)

    def get(self) -> float:
        with _files.lock:
            self._after_a_fork()
            return self._value

    def set_exemplar(self, exemplar: Any) -> None:
        self._exemplar = exemplar

    def get_exemplar(self) -> Any:
        return self._exemplar

    def _open(self) -> None:
        self._generation = _files.generation
        self._value, self._file = 0.0, _files.get(self._prefix)
        if self._file is not None:
            self._value, _ = self._file.read_value(self._key)

    def _after_a_fork(self) -> None:
        """A forked process counts from nothing, in files of its own: also one whose master had loaded the app, and
        counted in memory as it knew no folder yet (``--preload``)."""
        if self._generation != _files.generation:
            self._open()

    def _write(self, value: float, timestamp: float) -> None:
        self._value = value
        if self._file is not None:
            self._file.write_value(self._key, value, timestamp)


class _Files:
    """The open files of this process by their prefix. ``generation`` goes up with each fork."""

    def __init__(self) -> None:
        self.generation = 0
        self.lock = threading.Lock()
        self._open: dict[str, Any] = {}
        self._restoring = threading.Lock()
        self._failing = False

    def get(self, prefix: str) -> Any:
        """None where this process counts in its memory. Called with the lock."""
        folder = folders.shared
        if prefix not in self._open and folder is not None:
            with suppress(OSError):  # the file can't be made there either, which says why
                folder.mkdir(exist_ok=True)
            self._open[prefix] = _File(str(folder / f"{prefix}_{os.getpid()}.db"))
        return self._open.get(prefix)

    def restore(self) -> None:
        """Files that are gone, or only in memory, are in the folder again, if there is room. (any thread)"""
        with self._restoring:
            with self.lock:
                files = [file for file in self._open.values() if isinstance(file, WholeFile)]
            try:
                gone = [file for file in files if file.is_gone]
                for file in gone:
                    file.restore(self.lock)
            except OSError as error:
                if not self._failing:
                    self._failing = True
                    log.error("the metrics can't be written to %s: %s; it is tried again", folders.shared, error)
            else:
                self._failing = False
                if gone:
                    log.warning("the metrics in %s were gone: this worker has written its own anew", folders.shared)

    def after_fork(self) -> None:
        """In the child, before any other thread. The parent's files stay the parent's: closed here, they are open
        there. The lock may have been held by a thread that is not here."""
        self.generation += 1
        self.lock = threading.Lock()
        self._restoring = threading.Lock()
        for file in self._open.values():
            file.close()
        self._open = {}


_files = _Files()


def restore() -> None:
    """See that this process's files are in the folder that the workers share: somebody may have deleted it. Blocks."""
    _files.restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_files.after_fork)


def _with_own_values(kind: Any) -> Any:
    """``kind`` of metric with SharedValues: its ``_metric_init`` finds ``values.ValueClass`` by a global of its module,
    and runs here with another one."""
    init: Any = getattr(kind, "_metric_init", None)
    if "ValueClass" not in _names(init):
        MISSING.append(f"prometheus_client has no ValueClass in {kind.__name__}: each worker counts those for itself")
        return kind
    own = {**init.__globals__, "values": SimpleNamespace(ValueClass=SharedValue)}
    method = FunctionType(init.__code__, own, init.__name__, init.__defaults__, init.__closure__)
    return type(kind.__name__, (kind,), {"_metric_init": method, "__module__": __name__})


if not TYPE_CHECKING:
    Counter, Gauge, Histogram, Summary = map(
        _with_own_values,
        (prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram, prometheus_client.Summary),
    )

REGISTRY = CollectorRegistry()
"""The metrics of this process."""
