"""The history in a file: one JSON object a line, in ``GRAFT_DATA/history.jsonl``.

Lines, because they can be read and shipped without Graft, on any file system. A writer holds the file's lock, writes
with one call and waits for the disk. A process that is killed in between leaves at worst the beginning of a line, which
the next writer ends and readers pass over. At ``LARGEST`` bytes the file becomes ``history.1.jsonl``, in place of the
one before: so two files are all there ever is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO

from graft import files
from graft.errors import GraftError
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.state import Event, Mark
from graft.types import RouteKey

LARGEST = 4 * 1024 * 1024
LOCK_SECONDS = 5.0
LONGEST_LINE = 64 * 1024


class HistoryFile:
    """The history at ``path``. Its methods block; they may be called from any thread and process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._previous = path.with_name(f"{path.stem}.1{path.suffix}")

    def append(self, events: Iterable[Event]) -> None:
        """Raises GraftError when they can't be written."""
        lines = "".join(f"{json.dumps(event.as_data())}\n" for event in events).encode()
        if not lines:
            return
        try:
            files.make_data_folder(self.path.parent)
            with locked(self.path, LOCK_SECONDS):
                self._append(lines)
        except LockHeld as error:
            raise GraftError(f"{self.path}: another process has held {error.file} for {LOCK_SECONDS:g} s.") from None
        except LockUnwritable as error:
            raise GraftError(f"{self.path} can't be written: {error.reason.strerror}.") from None
        except OSError as error:
            raise GraftError(f"{self.path} can't be written: {error.strerror}.") from None

    def newest(self, key: RouteKey | None, last: int) -> list[Event]:
        """The ``last`` newest events, of ``key`` or of all routes, the newest first. Raises GraftError."""
        try:
            lines = self._lines()
        except OSError as error:
            raise GraftError(f"{self.path} can't be read: {error.strerror}.") from None
        events = (event for line in lines if (event := _event(line)) is not None)
        return list(islice((event for event in events if key is None or event.key == key), last))

    def end(self) -> Mark:
        """Behind the last event. Raises GraftError."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        events = self.after({"offset": 0, "at": "", "id": None}, LARGEST)
        return events[-1][1] if events else {"offset": 0, "at": now, "id": None}

    def after(self, mark: Mark, most: int) -> list[tuple[Event, Mark]]:
        """The ``most`` oldest events behind ``mark``, with the mark behind each. Where the event of the mark is in no
        file any more, they are those that are no older than it. Raises GraftError."""
        try:
            return list(islice(self._after(mark), most))
        except OSError as error:
            raise GraftError(f"{self.path} can't be read: {error.strerror}.") from None

    def _after(self, mark: Mark) -> Iterator[tuple[Event, Mark]]:
        with ExitStack() as stack:
            opened: list[IO[bytes]] = []
            for path in (self.path, self._previous):  # the newer one first: a rename in between loses no line
                with suppress(FileNotFoundError):
                    opened.insert(0, stack.enter_context(path.open("rb")))
            if len(opened) == 2 and os.path.sameopenfile(opened[0].fileno(), opened[1].fileno()):
                opened.pop()
            # By the event, and not by the file: a file of the same number may be another one by now.
            known = next((file for file in opened if _id_before(file, int(mark["offset"])) == mark["id"]), None)
            for file in opened[opened.index(known) :] if known else opened:
                offset = int(mark["offset"]) if file is known else 0
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is being written
                    offset += len(line)
                    event = _event(line)
                    if event is None:
                        continue
                    at = event.at.isoformat(timespec="milliseconds")
                    if known is not None or (at >= mark["at"] and event.id != mark["id"]):
                        yield event, {"offset": offset, "at": at, "id": event.id}

    def _append(self, lines: bytes) -> None:
        if self.path.exists() and self.path.stat().st_size + len(lines) > LARGEST:
            os.replace(self.path, self._previous)
        with open(self.path, "a+b", buffering=0, opener=files.opener_of_own) as file:
            files.give_to_owner_of_folder(self.path)
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # its writer was killed
                    lines = b"\n" + lines
            file.write(lines)
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[bytes]:
        """The newest first. Without the lock: somebody who may only read the folder reads the history too."""
        lines: list[bytes] = []
        identity: tuple[int, int] | None = None
        for path in (self.path, self._previous):
            try:
                with path.open("rb") as file:
                    stat = os.fstat(file.fileno())
                    if identity == (stat.st_dev, stat.st_ino):
                        continue  # it was renamed between the two: these are the lines that were read already
                    identity = stat.st_dev, stat.st_ino
                    lines = [*file.read().split(b"\n"), *lines]
            except FileNotFoundError:
                continue
        return reversed(lines)


def _id_before(file: IO[bytes], offset: int) -> str | None:
    """Of the event whose line ends at ``offset``; "" where there is none."""
    start = max(offset - LONGEST_LINE, 0)
    file.seek(start)
    line = file.read(offset - start).removesuffix(b"\n").rpartition(b"\n")[2]
    event = _event(line)
    return event.id if event is not None else ""


def _event(line: bytes) -> Event | None:
    """None for the beginning of a line, and for whatever else is no event."""
    try:
        return Event.of_data(json.loads(line))
    except ValueError:
        return None
