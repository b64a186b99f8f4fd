"""Shares: which clients of a route are on the native side.

Each client of a route has a bucket, one of 10,000, by a hash of the two; the share says up to which bucket the native
side answers. So a client stays where it is while the share grows, in every worker and after a restart, and the shares
of different routes have nothing to do with each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from graft.types import RouteKey, Scope

BUCKETS = 10_000

ClientKey = Callable[[Scope], bytes]


class Shares:
    """The buckets of one route's clients. ``sticky`` is as in switches.toml."""

    __slots__ = ("_client", "_route")

    def __init__(self, route: RouteKey, sticky: str) -> None:
        self._route = hashlib.blake2b(str(route).encode(), digest_size=8)
        self._client = client_key(sticky)

    def bucket(self, scope: Scope) -> int:
        """The bucket of the request's client: 0 to 9,999."""
        digest = self._route.copy()
        digest.update(self._client(scope))
        return int.from_bytes(digest.digest()) % BUCKETS


def client_key(sticky: str) -> ClientKey:
    """What tells one client from another: ``client``, ``cookie:NAME`` or ``header:NAME``.

    A request without that cookie or header is known by its address and user agent.
    """
    kind, _, name = sticky.partition(":")
    if kind == "cookie":
        return lambda scope: _cookie(scope, name.encode("latin-1")) or _address_and_agent(scope)
    if kind == "header":
        return lambda scope: _header(scope, name.lower().encode("latin-1")) or _address_and_agent(scope)
    return _address_and_agent


def _address_and_agent(scope: Scope) -> bytes:
    """``scope["client"]`` is the address behind the trusted proxies: the server has seen to that."""
    client = scope.get("client")
    address = client[0].encode() if client else b""
    return address + b"\n" + _header(scope, b"user-agent")


def _header(scope: Scope, name: bytes) -> bytes:
    for header, value in scope["headers"]:
        if header == name:
            return bytes(value)
    return b""


def _cookie(scope: Scope, name: bytes) -> bytes:
    for header, value in scope["headers"]:
        if header == b"cookie":
            for pair in value.split(b";"):
                found, _, content = pair.strip().partition(b"=")
                if found == name:
                    return bytes(content)
    return b""
