"""Trip counts: how many native answers were given and failed of late, of all workers of a server together.

Each worker has a file of its own in the folder that the server's workers share, maps it, and is the only one that
counts in it: an addition to a number in memory, without a lock. Who sees a failure reads those of the others. A trip is
one number that the worker which trips writes into everybody's file, so the next request of each worker goes by it. A
file of a worker that is gone counts for as long as its failures are recent.

All numbers are 64 bits wide and aligned, so one that is read is an old or a new one. The clock is the system's
monotonic one, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import logging
import math
import mmap
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path

import psutil

from graft import files
from graft.cancellation import cancel_and_wait
from graft.threads.starting import NoThread
from graft.types import RouteKey

CELLS = 20
"""A window is counted in so many parts."""

LOOK_SECONDS = 2.0
RESCAN_SECONDS = 0.2
"""So old may be what is known of who else there is."""

ROUTE, GENERATION, TRIPPED, WIDTH, FIRST = range(5)
"""A row: the route and the state of its switch, as hashes; the state that a worker has tripped; the width of a cell in
microseconds. Then, for each cell, its number, answers and failures."""

NUMBERS = FIRST + 3 * CELLS
BYTES = 8 * NUMBERS
SUFFIX = ".trips"

log = logging.getLogger("graft")


def hash_of(text: str) -> int:
    """Of 64 bits, and never 0."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) or 1


ALL = 0
"""The row that counts the failures of all routes, as the first of its cells does: whoever adds up sees by it whether
there is anything to add."""


class Row:
    """The counts of one route in one worker, since ``begun`` (seconds of the monotonic clock). ``numbers`` may be
    exchanged for others that have the same content. ``tripped_here``: this worker itself has tripped the route."""

    __slots__ = ("begun", "numbers", "tripped_here")

    def __init__(self, route: int = 0) -> None:
        self.begun = 0.0
        self.tripped_here = False
        self.numbers = memoryview(bytearray(BYTES)).cast("Q")
        self.numbers[ROUTE] = route

    def begin(self, generation: int, width: float) -> None:
        """Count from now on, for this state of the switch."""
        self.begun = time.monotonic()
        self.tripped_here = False
        numbers = self.numbers
        # The generation goes first and comes last: a reader that comes between finds a row that is nobody's.
        numbers[GENERATION] = 0
        for index in range(FIRST, NUMBERS):
            numbers[index] = 0
        numbers[TRIPPED] = 0
        numbers[WIDTH] = max(round(width * 1e6), 1)
        numbers[GENERATION] = generation


class TripCounts:
    """The rows of this worker, and those of the others. Made before the fork or after it; ``open`` is called in the
    worker. Used by the event loop's thread."""

    def __init__(self) -> None:
        self._all = Row(ALL)
        self._rows: dict[int, Row] = {ALL: self._all}
        self.by_key: dict[RouteKey, Row] = {}
        self._folder: Path | None = None
        self._path: Path | None = None
        self._peers: dict[int, _Peer] = {}
        self._scan_at = 0.0

    def row(self, key: RouteKey) -> Row:
        """The row of ``key`` in this worker."""
        route = hash_of(str(key))
        return self.by_key.setdefault(key, self._rows.setdefault(route, Row(route)))

    def count_failure(self) -> None:
        """One more native answer of this worker has failed."""
        self._all.numbers[FIRST] += 1

    def failures(self) -> int:
        """Another number after each failure in any worker."""
        return self._all.numbers[FIRST] + sum(numbers[FIRST] for numbers, _ in self.others(self._all))

    @asynccontextmanager
    async def shared(self, folder: Path | None) -> AsyncIterator[None]:
        """Count in ``folder`` until the block ends, and go by what was tripped there. (event loop)"""
        await asyncio.to_thread(self.open, folder)
        self.adopt()
        task = asyncio.create_task(self._look_on(), name="graft-trip-counts")
        try:
            yield
        finally:
            await cancel_and_wait([task])

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RuntimeError, NoThread):  # the next time
                await asyncio.to_thread(self.restore)

    def open(self, folder: Path | None, worker: int | None = None) -> None:
        """Count in ``folder`` from now on, where others see it, as ``worker``: this process. None: it is alone.
        Blocks."""
        if folder is None or not self.by_key:
            return
        path = folder / f"{worker or os.getpid()}{SUFFIX}"
        try:
            files.make_folder_in_data(folder)
            _clear(folder)
            numbers = _mapped(path, b"".join(row.numbers.tobytes() for row in self._rows.values()))
        except OSError as error:
            log.error("%s can't be written: %s. Trips count the failures of each worker by itself", path, error)
            return
        for index, row in enumerate(self._rows.values()):
            row.numbers = numbers[index * NUMBERS : (index + 1) * NUMBERS]
        self._folder, self._path = folder, path

    def restore(self) -> None:
        """Put the file where it was, if somebody has taken it away. Blocks. (any thread: what is counted meanwhile may
        be lost)"""
        if self._folder is not None and self._path is not None and not self._path.exists():
            self.open(self._folder, int(self._path.stem))

    def others(self, row: Row) -> Iterator[tuple[memoryview, float]]:
        """The rows of other workers for the same route and state of its switch, each with the time from which on it
        counts. One that is gone has not seen that the route was set in between, to another state and back."""
        route, generation = row.numbers[ROUTE], row.numbers[GENERATION]
        for peer in self._known():
            numbers = peer.rows.get(route)
            if numbers is not None and numbers[GENERATION] == generation:
                yield numbers, 0.0 if peer.is_alive else row.begun

    def trip(self, row: Row) -> None:
        """Take the route from the native side in all workers, for as long as its switch is what it is."""
        row.numbers[TRIPPED] = row.numbers[GENERATION]
        for numbers, _ in self.others(row):
            numbers[TRIPPED] = row.numbers[GENERATION]

    def adopt(self) -> None:
        """What the others have tripped holds here as well. (a worker that has just started)"""
        for row in self._rows.values():
            # Not those of a worker that is gone, for they are as old as that.
            if any(not since and numbers[TRIPPED] == row.numbers[GENERATION] for numbers, since in self.others(row)):
                row.numbers[TRIPPED] = row.numbers[GENERATION]

    def _known(self) -> Iterable[_Peer]:
        folder, now = self._folder, time.monotonic()
        if folder is None:
            return ()
        if now >= self._scan_at:
            self._scan_at = now + RESCAN_SECONDS
            own = self._path.name if self._path is not None else ""
            try:
                # By the file and not by its name: one that was taken away is made anew.
                found = {entry.inode(): entry.path for entry in os.scandir(folder) if _is_of_other(entry.name, own)}
            except OSError:
                found = {}
            self._peers = {inode: self._peers.get(inode) or _Peer(Path(path)) for inode, path in found.items()}
            for peer in self._peers.values():
                peer.is_alive = psutil.pid_exists(peer.pid)
        return self._peers.values()


class _Peer:
    """Another worker's file. One that has just gone, or is no such file, has no rows."""

    def __init__(self, path: Path) -> None:
        self.rows: dict[int, memoryview] = {}
        self.pid = int(path.stem) if path.stem.isdigit() else -1
        self.is_alive = True
        try:
            with path.open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                if not size or size % BYTES:
                    return
                numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")
        except (OSError, ValueError):
            return
        for start in range(0, len(numbers), NUMBERS):
            self.rows[numbers[start + ROUTE]] = numbers[start : start + NUMBERS]


def counted(numbers: memoryview, newest: int, since: float = 0.0) -> tuple[int, int]:
    """Answers and failures in the cells up to the one of number ``newest``, and of those that began after ``since``."""
    answers = failures = 0
    oldest = max(newest - CELLS + 1, math.ceil(since * 1e6 / numbers[WIDTH]))
    for index in range(FIRST, NUMBERS, 3):
        if numbers[index] >= oldest:
            answers += numbers[index + 1]
            failures += numbers[index + 2]
    return answers, failures


def _is_of_other(name: str, own: str) -> bool:
    return name.endswith(SUFFIX) and name != own and not name.startswith(".")


def _mapped(path: Path, content: bytes) -> memoryview:
    """A file at ``path``, mapped. It is written whole first: a hole in it would be a SIGBUS on a full disk."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    os.replace(draft, path)
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), len(content))).cast("Q")


def _clear(folder: Path) -> None:
    """Remove the files of workers that are gone, and whose failures are no longer recent."""
    now = time.monotonic()
    for path in folder.glob(f"[0-9]*{SUFFIX}"):
        pid = path.name.removesuffix(SUFFIX)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            rows = _Peer(path).rows.values()
            if not any(_is_recent(numbers, now) for numbers in rows):
                path.unlink(missing_ok=True)


def _is_recent(numbers: memoryview, now: float) -> bool:
    width = numbers[WIDTH] / 1e6
    newest = max(numbers[index] for index in range(FIRST, NUMBERS, 3))
    return now < (newest + CELLS + 1) * width
