"""Log lines of mirrored work: each says so, and none is an error, since no user has met one.

It is the record factory of ``logging``, around the one that the app may have set: loggers, handlers, filters and levels
stay as they are. A handler for errors alone, as one that pages somebody, does not get such a line. In place of a
traceback it has the exception's line, without secrets: all of it is in what is kept of the difference. What the fence
has refused is no fault of the app's, and the mirror says it itself: the app's line about it is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from graft.mirroring.failures import failure_of
from graft.mirroring.fence import MirroredWrite, Tried, mirrored_run
from graft.mirroring.redact import Redactor

ATTRIBUTE = "graft_mirror"
"""On the records of mirrored work; ``mirror`` in lines of JSON."""

_NOBODYS = -1
"""A level below all: no handler takes such a record."""

_LONGEST = 2000
"""Characters of what an exception says."""


class MirroredRecords:
    """Makes log records by ``inner``."""

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner

    def __call__(self, *args: Any, **keywords: Any) -> logging.LogRecord:
        record = self.inner(*args, **keywords)
        run = mirrored_run()
        if (run is not None or _is_of_a_mirror(record)) and not hasattr(record, ATTRIBUTE):
            _mark(record, run or Tried())
        return record


def _is_of_a_mirror(record: logging.LogRecord) -> bool:
    """Whether it is about a refusal, wherever that came out: a task that nobody awaited is told by the event loop."""
    return bool(record.exc_info) and isinstance(record.exc_info[1], MirroredWrite)  # type: ignore[index]


def mark_records() -> None:
    """Have the records of mirrored work marked. (before each mirrored run: an app may set a factory of its own)"""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, MirroredRecords):
        logging.setLogRecordFactory(MirroredRecords(factory))


def _mark(record: logging.LogRecord, run: Tried) -> None:
    setattr(record, ATTRIBUTE, True)
    error = record.exc_info[1] if record.exc_info else None
    if record.levelno >= logging.ERROR and error is not None:
        run.raised, run.logged = error, True
    if record.levelno > logging.WARNING:
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    if isinstance(error, MirroredWrite) and run.what:
        record.levelno = _NOBODYS
    said = ""
    if error is not None:
        record.exc_info = record.exc_text = None
        said = f": {Redactor.of(run.redact).text(failure_of(error, 0).line)[:_LONGEST]}"
    if isinstance(record.msg, str):
        record.msg = f"mirror: {record.msg}{said.replace('%', '%%') if record.args else said}"
