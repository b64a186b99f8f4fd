"""What tasks do, as log lines: to the console with all other lines, and to ``async_tasks.log``.

Lines are made and written by a thread of their own: ten thousand tasks that begin at once must not hold the event loop
for ten thousand lines.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from concurrent_log_handler import ConcurrentRotatingFileHandler

from graft.observe.formatters import ConsoleFormatter
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


class SharedRotatingFile(ConcurrentRotatingFileHandler):
    """A rotating log file that several workers write to: one of them rotates, the others follow.

    A file that can't be written is told on stderr once, not once a line. One that can't be rotated is written on.
    """

    def __init__(self, path: Path, size: int = FILE_BYTES, kept: int = FILES_KEPT) -> None:
        # Closed between lines: a file that somebody else (logrotate, an operator) has moved away is made anew.
        super().__init__(path, maxBytes=size, backupCount=kept, encoding="utf-8", keep_file_open=False)
        self.setFormatter(ConsoleFormatter("%(asctime)s %(levelname)-7s [%(tag)s] %(message)s"))
        self.addFilter(RequestIdFilter())
        self._reported = False

    def doRollover(self) -> None:
        before = self.num_rollovers
        super().doRollover()
        if self.num_rollovers == before:
            self._report_once("can't be rotated, and grows")

    def handleError(self, record: logging.LogRecord) -> None:
        self._report_once(f"can't be written: {sys.exc_info()[1]}")

    def _report_once(self, what: str) -> None:
        if not self._reported:
            self._reported = True
            print(f"{self.baseFilename} {what}", file=sys.stderr)
