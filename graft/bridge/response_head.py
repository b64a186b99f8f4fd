"""Status and headers of a WSGI app as ASGI has them; what no server should send is refused."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable

from graft.types import Message


class ProtocolError(AssertionError):
    """The WSGI app broke PEP 3333."""


def parse_status(status: str) -> tuple[int, bytes | None]:
    """ "299 Odd Reason" as its number and its phrase, None for the standard one. Remembered: an app has few.

    Raises ProtocolError when it is none that a final answer may have.
    """
    known = _STATUSES.get(status)
    if known is None:
        known = _parse_status(status)
        if len(_STATUSES) < 1024:
            _STATUSES[status] = known
    return known


def _parse_status(status: str) -> tuple[int, bytes | None]:
    try:
        found = _STATUS.fullmatch(status)
        if found is not None:
            code, reason = int(found["code"]), (found["reason"] or "").rstrip().encode("latin-1")
            return code, None if reason == http.client.responses.get(code, "").encode() else reason
    except (TypeError, UnicodeEncodeError):
        pass
    raise ProtocolError(f"the status {status!r} is not one that a server can send") from None


def hand_over(head: Message) -> bool:
    """Leave the body to the proxy in front, where a header names the file that it is to send (``X-Accel-Redirect``).

    The Content-Length is that file's. The app's own body is empty, and with its true length the connection lives on.
    """
    headers = head["headers"]
    if not any(name in _HAND_OVER for name, _ in headers):
        return False
    head["headers"] = [(name, b"0" if name == b"content-length" else value) for name, value in headers]
    return True


def encode_headers(
    headers: Iterable[tuple[str, str]], *, drop_length: bool
) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The headers as ASGI has them, and the declared length. Raises ProtocolError for those no server should send."""
    pairs: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for name, value in headers:
        known = _PAIRS.get((name, value)) if name.__class__ is str is value.__class__ else None
        if known is not None:
            pairs.append(known)
            continue
        key = _NAMES.get(name) or _encode_name(name)
        text = _encode_value(name, value)
        if name in _REPEATED and len(_PAIRS) < 1024:
            _PAIRS[name, value] = key, text
        if key in _HOP_BY_HOP and not (key == b"connection" and text.lower() == b"close"):
            continue
        if key == b"content-length":
            if drop_length:
                continue
            if not text.isdigit() or length not in (None, int(text)):
                raise ProtocolError(f"the Content-Length {value!r} is no number, or there are two")
            if length is not None:
                continue
            length = int(text)
        pairs.append((key, text))
    return pairs, length


def _encode_name(name: str) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ProtocolError(f"the header name {name!r} is not one")
    key = name.lower().encode("ascii")
    if len(_NAMES) < 1024:
        _NAMES[name] = key
    return key


def _encode_value(name: str, value: str) -> bytes:
    try:
        is_plain = value.isascii() and value.isprintable()  # nearly always, and quick to see
        if is_plain or not _CONTROL.search(value):
            return value.strip(" \t").encode("latin-1")
    except (AttributeError, TypeError, UnicodeEncodeError):
        pass
    raise ProtocolError(f"the header {name} has a value that can't be sent: {value!r}") from None


_NAMES: dict[str, bytes] = {}
_REPEATED = frozenset({"Content-Type", "Cache-Control", "Vary", "Allow", "Accept-Ranges", "X-Frame-Options"})
_PAIRS: dict[tuple[str, str], tuple[bytes, bytes]] = {}
"""Encoded headers whose values are few: with one look-up they are known to be what a server may send."""
_STATUSES: dict[str, tuple[int, bytes | None]] = {}
_STATUS = re.compile(r"(?P<code>[2-9][0-9]{2})(?: (?P<reason>[ \t\x21-\x7e\x80-\xff]*))?")
_HAND_OVER = frozenset({b"x-accel-redirect", b"x-sendfile", b"x-lighttpd-send-file", b"x-reproxy-url"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These belong to the server's own connection. "Connection: close" is the one wish that an app may have about it.
_HOP_BY_HOP = frozenset(
    name.encode()
    for name in ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
