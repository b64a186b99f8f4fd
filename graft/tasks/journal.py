"""What tasks do, as log lines: to the console with all other lines, and to ``async_tasks.log``.

Lines are made and written by a thread of their own: ten thousand tasks that begin at once must not hold the event loop
for ten thousand lines.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from filelock import FileLock

from graft.observe.logs import RequestIdFilter

log = logging.getLogger("graft.tasks")

FILE = "async_tasks.log"
FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5


class Line(NamedTuple):
    level: int
    message: str
    arguments: tuple[object, ...]
    request_id: str | None
    at: float
    error: BaseException | None = None


class Journal:
    """Writes to the logger ``graft.tasks``, and that to ``folder``/async_tasks.log, from ``open()`` to ``close()``."""

    def __init__(self, folder: Path) -> None:
        self._lines: SimpleQueue[Line | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_on, name="graft-tasks-journal", daemon=True)
        self._file = SharedRotatingFile(folder / FILE)

    def open(self) -> None:
        log.addHandler(self._file)
        self._thread.start()

    def close(self) -> None:
        self._lines.put(None)
        self._thread.join()
        log.removeHandler(self._file)
        self._file.close()

    def write(
        self, level: int, message: str, *arguments: object, request_id: str | None, error: BaseException | None = None
    ) -> None:
        if log.isEnabledFor(level):
            self._lines.put(Line(level, message, arguments, request_id, time.time(), error))

    def _write_on(self) -> None:
        while (line := self._lines.get()) is not None:
            error = (type(line.error), line.error, line.error.__traceback__) if line.error is not None else None
            extra = {"request_id": line.request_id or "-"}
            record = log.makeRecord(log.name, line.level, __file__, 0, line.message, line.arguments, error, extra=extra)
            record.created, record.msecs = line.at, (line.at % 1) * 1000
            log.handle(record)


class SharedRotatingFile(RotatingFileHandler):
    """A rotating log file that several workers write to: one of them rotates, the others follow.

    A file that can't be written is told on stderr once, not once a line.
    """

    def __init__(self, path: Path, size: int = FILE_BYTES, kept: int = FILES_KEPT) -> None:
        super().__init__(path, maxBytes=size, backupCount=kept, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s [%(tag)s] %(message)s"))
        self.addFilter(RequestIdFilter())
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow()
        except OSError:
            self.handleError(record)
        else:
            super().emit(record)

    def doRollover(self) -> None:
        with FileLock(f"{self.baseFilename}.lock", timeout=5):
            self._follow()
            if os.path.getsize(self.baseFilename) > self.maxBytes // 2:  # else another worker has done it just now
                super().doRollover()

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._told:
            self._told = True
            print(f"{self.baseFilename} can't be written: {sys.exc_info()[1]}", file=sys.stderr)

    def _follow(self) -> None:
        """Open the file again where another worker has moved it away."""
        if self.stream is not None and not self._is_current():
            self.stream.close()
            self.stream = None
        if self.stream is None:
            os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
            self.stream = self._open()

    def _is_current(self) -> bool:
        assert self.stream is not None
        try:
            there, ours = os.stat(self.baseFilename), os.fstat(self.stream.fileno())
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
