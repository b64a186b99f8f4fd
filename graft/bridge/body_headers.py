"""What the headers of a request say of its body."""

from __future__ import annotations

from typing import NamedTuple

from graft.bridge.refused import Refused, too_large
from graft.types import Scope


class BodyHeaders(NamedTuple):
    """``length`` in bytes, None where only the body's own end tells. ``waits``: the client sends it when told to."""

    length: int | None
    waits: bool


def body_headers(scope: Scope, limit: int | None) -> BodyHeaders | None:
    """None when the request surely has no body. Raises Refused for a length that is no number or above ``limit``."""
    declared: bytes | None = None
    chunked = waits = False
    for name, value in scope["headers"]:
        if name in _OF_A_BODY:
            if name == b"transfer-encoding":
                chunked = True
            elif name == b"expect":
                waits = True
            elif declared is None:
                declared = value
    if chunked:
        return BodyHeaders(None, waits)
    if declared is None:
        no_body = scope["http_version"] in _SAY_IT and scope["method"] in USUALLY_WITHOUT
        return None if no_body else BodyHeaders(None, waits)
    if not declared.isdigit():
        raise Refused(400, "bad_request", "The Content-Length is no number.")
    length = int(declared)
    if limit is not None and length > limit:
        raise too_large(limit)
    return BodyHeaders(length, waits) if length else None


_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_SAY_IT = frozenset({"1.0", "1.1"})  # in these the headers say whether a body comes
USUALLY_WITHOUT = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
