"""The words that several rooms share: ASGI aliases, the two sides, the key of a route."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "ANY",
    "MIRRORED",
    "PEER",
    "WEBSOCKET",
    "ASGIApp",
    "Message",
    "Receive",
    "RouteKey",
    "Scope",
    "Send",
    "Side",
    "path_of",
]


PEER = "graft.peer"
"""Where the scope has the address that the connection came from: ``client`` is what a trusted proxy says."""


MIRRORED = "graft.mirrored"
"""The key that a mirrored run has, and no other request, in its ASGI scope and its WSGI environ; its value is True.
Spans and Sentry's events have it as an attribute and a tag."""


class Side(StrEnum):
    """Who answers a request. The value is what ``X-Served-By`` says."""

    NATIVE = "native"
    LEGACY = "legacy"
    FALLBACK = "legacy; fallback"


WEBSOCKET = "WEBSOCKET"
"""Stands in a route's key where others have their method."""

ANY = "ANY"
"""Stands there in the key of a subtree, ``ANY /reports/*``: every method, and WebSockets, of all below a mount."""


class RouteKey(NamedTuple):
    """One method of one path template: ``str(key)`` is ``"GET /path/{id:int}"``, as people write it.

    ``host`` is empty for a route of any host, and for one of the default host of a Flask app that matches subdomains;
    else it stands before the path: ``"GET api.example.org/path"``.
    """

    method: str
    path: str
    host: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path}"

    @classmethod
    def parse(cls, text: str) -> RouteKey:
        """Read ``"GET /path/{id:int}"``, with or without a host. Raises ValueError with the reason when it is something
        else, or has control characters."""
        match = _ROUTE_KEY.fullmatch(text.strip())
        if match is None or not text.isprintable():  # what is printed on terminals and in logs must not steer them
            raise ValueError(f'{text!r} is not a route; write the method and the path, as in "GET /path/{{id:int}}"')
        return cls(match["method"].upper(), match["path"], match["host"])


def path_of(label: str) -> str:
    """The path template in the name of a route, without method and host; a name without a path is taken as it is."""
    return label[max(label.find("/"), 0) :]


_ROUTE_KEY = re.compile(r"(?P<method>[A-Za-z]+)\s+(?P<host>(?:[\w.{}:-]*[\w}])?)(?P<path>/\S*)")
