"""The line of one request, in both formats, as the formatters would make it of a LogRecord, at a tenth of the cost.

A test holds each of them together with its formatter, character by character. What comes from strangers is escaped as
theirs: nothing in it ends a line or steers a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii

from graft.printable import printable

Entry = tuple[float, str, str, str, int, str, str, float, str | None, str | None]
"""What is told of one request: when it was answered, by ``time.time()``; its id, method, path and status, 0 where it
was cut off before its answer began; side, route, seconds, client and user. A plain tuple: one is made for each request,
on the event loop, and a named one takes three times as long."""

Form = Callable[[Entry], str]
"""Makes the line, with its line break."""


def console(entry: Entry) -> str:
    created, request_id, method, path, status, side, _, seconds, _, user = entry
    tag = request_id if user is None else f"{request_id} user={user}"
    text = (
        f"{_timestamp(created)} INFO    [{tag}] graft.access: "
        f"{method} {escaped(path)} {status or 'cut off'} {side} {seconds * 1000:.1f} ms"
    )
    return f"{text if text.isprintable() else printable(text)}\n"


def json_line(entry: Entry) -> str:
    created, request_id, method, path, status, side, route, seconds, client, user = entry
    milliseconds = seconds * 1000
    text = _quoted(f"{method} {escaped(path)} {status or 'cut off'} {side} {milliseconds:.1f} ms")
    return (
        f'{{"time": "{_timestamp(created)}", "level": "INFO", "logger": "graft.access", "message": {text}, '
        f'"request_id": {_quoted(request_id)}, "method": {_quoted(method)}, "path": {_quoted(path)}, '
        f'"status": {status}, "side": "{side}", "route": {_quoted(route)}, "duration_ms": {_rounded(milliseconds)}, '
        f'"client": {"null" if client is None else _quoted(client)}, '
        f'"user": {"null" if user is None else _quoted(user)}}}\n'
    )


def escaped(path: str) -> str:
    """``path`` in ASCII that prints."""
    if path.isascii() and path.isprintable() and "\\" not in path:  # nearly always, and quick
        return path
    return path.encode("unicode_escape").decode("ascii")


def _timestamp(created: float) -> str:
    """As ``logging.Formatter.formatTime``, whose seconds are worked out once each."""
    global _second
    whole = int(created)
    second = _second  # one look: another thread may be at the next second
    if second[0] != whole:
        second = _second = whole, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole))
    return second[1] + _MILLISECONDS[int((created - whole) * 1000)]


def _rounded(number: float) -> str:
    """``repr(round(number, 3))``, in half of its time."""
    if not 0 <= number < 1e9:
        return repr(round(number, 3))
    text = f"{number:.3f}".rstrip("0")
    return f"{text}0" if text[-1] == "." else text


_quoted = encode_basestring_ascii
_MILLISECONDS = [f",{number:03d}" for number in range(1000)]
_second = (-1, "")
