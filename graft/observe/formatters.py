"""Log records as lines, for people and for machines.

What stands in a record may come from strangers, whoever wrote it: so nothing in it can end a line or steer a terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from traceback import TracebackException
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from graft.observe import paths
from graft.printable import printable


class ConsoleFormatter(logging.Formatter):
    """One record is one line; behind it stands the traceback, with its own line breaks and no others."""

    def format(self, record: logging.LogRecord) -> str:
        route = getattr(record, "route", None)
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [printable(paths.without_path(self.formatMessage(record), route))]
        # ``record.exc_text`` is neither read nor set where there is an exception: the app's own handlers share it.
        if record.exc_info and record.exc_info[1] is not None:
            lines.append(paths.without_path(_traceback(record.exc_info[1]), route))
        elif record.exc_text:  # of a QueueHandler; here a line that the exception brought can't be told from the others
            lines.extend(f"    {printable(line)}" for line in record.exc_text.splitlines())
        if record.stack_info:
            lines.append(printable(self.formatStack(record.stack_info), keep="\n"))
        return "\n".join(lines)


class JsonLines(JsonFormatter):
    """JSON escapes by itself what would end a line."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        route = log_data.get("route")
        told = {
            name: paths.without_path(value, route) if isinstance(value, str) else value
            for name, value in log_data.items()
        }
        return super().process_log_record(told)


def _traceback(error: BaseException) -> str:
    whole = TracebackException.from_exception(error)
    for part in _parts(whole):
        part.format_exception_only = _in_one_line(part)  # type: ignore[method-assign, assignment]
    return "".join(whole.format()).rstrip("\n")


def _parts(error: TracebackException) -> Iterator[TracebackException]:
    """With its causes, its contexts and, of a group, its exceptions."""
    waiting: list[TracebackException | None] = [error]
    while waiting:
        part = waiting.pop()
        if part is not None:
            yield part
            waiting += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]


def _in_one_line(part: TracebackException) -> Callable[..., Iterator[str]]:
    """``part.format_exception_only`` that lets no text of an exception, and no note, begin a line."""
    original = part.format_exception_only
    notes = getattr(part, "__notes__", None)
    if isinstance(notes, (list, tuple)):
        part.__notes__ = [printable(str(note)) for note in notes]

    def lines(*args: Any, **kwargs: Any) -> Iterator[str]:
        for line in original(*args, **kwargs):
            yield printable(line.removesuffix("\n")) + "\n"

    return lines
