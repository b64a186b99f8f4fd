"""Status and headers of a WSGI app as ASGI has them; what no server should send is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable


class ProtocolError(AssertionError):
    """The WSGI app broke PEP 3333."""


def parse_status(status: str) -> int:
    """The number in "200 OK". Raises ProtocolError when it is none that a final answer may have."""
    code = status[:3]
    if not code.isdecimal() or not code.isascii() or not 200 <= int(code) <= 599 or status[3:4].strip():
        raise ProtocolError(f"the status {status!r} is not one that a server can send")
    return int(code)


def encode_headers(
    headers: Iterable[tuple[str, str]], *, drop_length: bool
) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The headers as ASGI has them, and the declared length. Raises ProtocolError for those no server should send."""
    pairs: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for name, value in headers:
        key = _NAMES.get(name) or _encode_name(name)
        text = _encode_value(name, value)
        if key in _HOP_BY_HOP and not (key == b"connection" and text.lower() == b"close"):
            continue
        if key == b"content-length":
            if drop_length:
                continue
            if not text.isdigit() or length is not None:
                raise ProtocolError(f"the Content-Length {value!r} is no number, or there are two")
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
        if not _CONTROL.search(value):
            return value.strip(" \t").encode("latin-1")
    except (TypeError, UnicodeEncodeError):
        pass
    raise ProtocolError(f"the header {name} has a value that can't be sent: {value!r}") from None


_NAMES: dict[str, bytes] = {}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These belong to the server's own connection. "Connection: close" is the one wish that an app may have about it.
_HOP_BY_HOP = frozenset(
    name.encode()
    for name in ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
