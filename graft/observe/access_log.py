"""Where access records go: a line of Graft's own making, or a LogRecord for whoever asks ``logging`` for one.

A LogRecord, its filter, its formatter and its write cost more than all else that Graft does for a request. Where they
could end nowhere but in Graft's own handler, a thread makes the lines and writes them (line_writer.py). As
soon as the app has put a handler or a filter in the way, they are records as ever.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from typing import TextIO

from graft.observe import access_lines
from graft.observe.access_lines import Entry, Form
from graft.observe.line_writer import PIPE_BUF, LineWriter
from graft.settings import LogFormat

log = logging.getLogger("graft.access")

LINE = 400
"""Bytes that a record takes without its path, while it waits."""

LAST_WRITE = 2.0
"""Seconds that the end of a worker waits for a reader of the log who has stopped."""


class AccessLog:
    """One a process. ``write`` is called on the event loop, the rest in any thread."""

    def __init__(self) -> None:
        self._handler: logging.StreamHandler[TextIO] | None = None
        self._formatter: logging.Formatter | None = None
        self._filter: object = None
        self._form: Form = access_lines.console
        self._parent = logging.getLogger("graft")
        self.lines = LineWriter(self._stream, self._line, self._notice)

    def use(self, handler: logging.StreamHandler[TextIO], log_format: LogFormat) -> None:
        """``handler`` is Graft's own, with the formatter of ``log_format`` and one filter. (at start-up)"""
        self.lines.flush(LAST_WRITE)
        self._handler = handler
        self._formatter = handler.formatter
        self._filter = handler.filters[0]
        self._form = access_lines.json_line if log_format is LogFormat.JSON else access_lines.console

    def write(
        self,
        request_id: str,
        method: str,
        path: str,
        status: int,
        side: str,
        route: str,
        seconds: float,
        client: str | None,
        user: str | None,
    ) -> None:
        """Log one request. ``status`` 0: its answer was cut off before it began."""
        if self._is_direct():
            entry = (time.time(), request_id, method, path, status, side, route, seconds, client, user)
            self.lines.put(entry, LINE + len(path))
            return
        log.info(
            "%s %s %s %s %.1f ms",
            method,
            access_lines.escaped(path),
            status or "cut off",
            side,
            seconds * 1000,
            extra={
                "request_id": request_id,
                "method": method,
                "path": path,
                "status": status,
                "side": str(side),
                "route": route,
                "duration_ms": round(seconds * 1000, 3),
                "client": client,
                "user": user,
            },
        )

    def catch_up(self) -> None:
        """An ordinary line is about to be written: those before it go first, where that does not wait."""
        if not self.lines.is_empty:
            self.lines.flush()

    def end(self) -> None:
        """The worker ends: nothing may be left."""
        self.lines.flush(LAST_WRITE)

    def _is_direct(self) -> bool:
        """Whether a record would end in Graft's own handler and nowhere else, as Graft has set it up."""
        handler, parent = self._handler, self._parent
        return (
            handler is not None
            and not log.handlers
            and not log.filters
            and log.propagate
            and log.parent is parent
            and len(parent.handlers) == 1
            and parent.handlers[0] is handler
            and not parent.propagate
            and handler.level <= logging.INFO
            and len(handler.filters) == 1
            and handler.filters[0] is self._filter
            and handler.formatter is self._formatter
            and ((factory := logging.getLogRecordFactory()) is logging.LogRecord or _is_stock(factory))
        )

    def _line(self, entry: Entry) -> str:
        """Short enough for one write: in two, the lines of other workers could come in between."""
        line = self._form(entry)
        keep = PIPE_BUF
        while len(line) > PIPE_BUF and keep:
            keep //= 4
            created, request_id, method, path, status, side, route, seconds, client, user = entry
            path, client, user = _cut(path, keep), client and _cut(client, keep), user and _cut(user, keep)
            line = self._form((created, request_id, method, path, status, side, route, seconds, client, user))
        return line

    def _stream(self) -> TextIO:
        return self._handler.stream if self._handler is not None else sys.stderr

    def _notice(self, count: int) -> str:
        told = "%d access records are lost: nothing read the log, or it could not be written"
        record = logging.LogRecord(log.name, logging.WARNING, __file__, 0, told, (count,), None)
        handler = self._handler
        if handler is None or not handler.filter(record):
            return f"{record.getMessage()}\n"
        return f"{handler.format(record)}\n"


def _is_stock(factory: object) -> bool:
    """Also inside the one that marks the lines of mirrored work: a request of a user's is none."""
    return getattr(factory, "inner", factory) is logging.LogRecord


def _cut(text: str, keep: int) -> str:
    return text if len(text) <= keep else f"{text[:keep]}..."


ACCESS_LOG = AccessLog()
atexit.register(ACCESS_LOG.end)
os.register_at_fork(after_in_child=ACCESS_LOG.lines.reset) if hasattr(os, "register_at_fork") else None
