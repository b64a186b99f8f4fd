"""The request id: kept when the client's is sane, else made; the same one on both sides."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = b"x-request-id"

current: ContextVar[str | None] = ContextVar("graft_request_id", default=None)
"""The id of the request that this code runs for; the mount carries it into Flask's threads."""


def take(headers: list[tuple[bytes, bytes]]) -> str:
    """The id of a request with these raw headers: the one sent, if it is 1 to 128 letters, digits and ``._-``."""
    return sent(headers) or make()


def sent(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The sane id that stands in these headers."""
    for name, value in headers:
        if name == HEADER and _SANE(value):
            return value.decode("ascii")
    return None


def make() -> str:
    """Unique over processes and machines (64 random bits a process) and cheap (a counter a request)."""
    return f"{_prefix}-{next(_counter):x}"


def _renew() -> None:
    global _prefix
    _prefix = os.urandom(8).hex()


_SANE = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_counter = itertools.count(1)
_prefix = ""
_renew()
os.register_at_fork(after_in_child=_renew) if hasattr(os, "register_at_fork") else None
