"""The head of a response, as bytes."""

from __future__ import annotations

import http
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]


def status_line(status: int, reason: bytes | None = None) -> bytes:
    """``HTTP/1.1 200 OK``, without its end. ``reason`` in place of the standard phrase. Raises ValueError."""
    if reason is None:
        return STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
    if reason.translate(None, _CONTROLS) != reason:
        raise ValueError(f"a control character in the reason phrase {reason!r}")
    return b"HTTP/1.1 %d %b" % (status, reason)


def _standard_line(status: int) -> bytes:
    try:
        return b"HTTP/1.1 %d %b" % (status, http.HTTPStatus(status).phrase.encode("ascii"))
    except ValueError:
        return b"HTTP/1.1 %d " % status


def collect(lines: list[bytes], headers: Headers) -> tuple[int | None, int]:
    """Add ``headers`` to ``lines``; the value of Content-Length, and what else they say about the frame, as flags.

    ``lines`` begins with the first line and the server's own headers. Transfer-Encoding is not added, for the server
    writes its own. Raises RuntimeError for what would not be HTTP.
    """
    length: int | None = None
    flags = 0
    get = _names.get
    for name, value in headers:
        prefix, kind = get(name) or _learn(name)
        if kind:
            if kind == _LENGTH:
                if not value.isdigit() or length not in (None, int(value)):
                    raise RuntimeError(f"Content-Length {value!r} is no number, or a second one")
                if length is not None:
                    continue
                length = int(value)
            elif kind == _ENCODING:
                flags |= CHUNKED if value.lower() == b"chunked" else 0
                continue
            elif kind == _CONNECTION:
                flags |= CLOSE if b"close" in [token.strip() for token in value.lower().split(b",")] else 0
            else:
                flags |= kind
        lines += (prefix, value)
    values = b"".join(lines[3::2])
    if len(values.translate(None, _BAD)) != len(values):
        raise RuntimeError("Invalid HTTP header value.")
    return length, flags


def head_lines(headers: Headers) -> tuple[bytes, int | None, int]:
    """``headers`` as lines, and what ``collect`` tells of them. Raises what that raises.

    Remembered for sets of them that may come again, which most do: one look-up tells all that is known of each.
    """
    key = tuple(headers)
    try:
        known = _known.get(key)
        may_keep = True
    except TypeError:  # pairs that are lists, as ASGI allows
        known, may_keep = None, False
    if known is not None:
        return known
    lines = [b"", b""]
    length, flags = collect(lines, key)
    made = b"".join(lines), length, flags
    if may_keep and not flags & ONCE and len(made[0]) <= LONGEST_KEPT:
        if len(_known) >= SETS_KEPT:
            _known.clear()
        _known[key] = made
    return made


def without_length(lines: bytes) -> bytes:
    """Take Content-Length out again: the body has another frame, or none."""
    name, at = _names[b"content-length"][0], 0
    while (at := lines.find(name, at)) != -1:
        end = lines.find(b"\r\n", at + 2)
        lines = lines[:at] + (lines[end:] if end != -1 else b"")
    return lines


def _learn(name: bytes) -> tuple[bytes, int]:
    """``name`` as it stands in a head, and its meaning. Remembered, for names are few and responses are many."""
    if not name or name.translate(None, _NO_TOKEN) != name:
        raise RuntimeError("Invalid HTTP header name.")
    lower = name.lower()
    learned = b"\r\n" + lower + b": ", _KINDS.get(lower, 0)
    if len(_names) < _NAMES_KEPT:
        _names[name] = learned
    return learned


class OwnHeaders:
    """The headers that the server itself sets, as lines; made anew when its list is another one: each second."""

    __slots__ = ("_all", "_list", "_neither", "_no_date", "_no_server")

    def __init__(self) -> None:
        self._list: list[tuple[bytes, bytes]] | None = None

    def lines(self, headers: list[tuple[bytes, bytes]], flags: int = 0) -> bytes:
        """Without ``Date`` or ``Server`` if the app has set it: ``flags`` of ``collect``."""
        if headers is not self._list:
            self._list = headers
            self._all = _lines(headers)
            self._no_date, self._no_server = _lines(headers, b"date"), _lines(headers, b"server")
            self._neither = _lines(headers, b"date", b"server")
        flags &= DATE | SERVER
        if not flags:
            return self._all
        return self._neither if flags == DATE | SERVER else self._no_date if flags == DATE else self._no_server


def _lines(headers: Headers, *without: bytes) -> bytes:
    return b"".join(b"\r\n%b: %b" % pair for pair in headers if pair[0] not in without)


CLOSE, CHUNKED, DATE, SERVER, ONCE = 1, 2, 4, 8, 128
"""``ONCE``: one of them has another value each time."""
_LENGTH, _ENCODING, _CONNECTION = 16, 32, 64
_KINDS = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _ENCODING,
    b"connection": _CONNECTION,
    b"date": DATE | ONCE,
    b"server": SERVER,
    **dict.fromkeys((b"etag", b"last-modified", b"location", b"set-cookie", b"x-request-id"), ONCE),
}
_NAMES_KEPT = 1000
SETS_KEPT = 512
LONGEST_KEPT = 512  # bytes
_CONTROLS = bytes(range(32)) + b"\x7f"
_BAD = bytes(set(range(32)) - {9}) + b"\x7f"
_NO_TOKEN = bytes(range(33)) + b'\x7f()<>@,;:\\"[]={}'
_names: dict[bytes, tuple[bytes, int]] = {}
_known: dict[tuple[tuple[bytes, bytes], ...], tuple[bytes, int | None, int]] = {}
STATUS_LINES = {status: _standard_line(status) for status in range(100, 600)}
_learn(b"content-length")
