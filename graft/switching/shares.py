"""Shares: which clients of a route are on the native side.

Each client of a route has a bucket, one of 10,000, by a hash of the two; the share says up to which bucket the native
side answers. So a client stays where it is while the share grows, in every worker and after a restart, and the shares
of different routes have nothing to do with each other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from flask import Flask

from graft.flaskside.users import USER_ID, Saw, SessionUsers, has_login
from graft.switching.unknown_users import UnknownUsers
from graft.types import RouteKey, Scope

BUCKETS = 10_000

ClientKey = Callable[[Scope], bytes]

_SIGNED = 'sticky = "%s" would hold nobody, as Flask signs its session cookie anew; it counts as "user": write that'

logger = logging.getLogger(__name__)


class Shares:
    """The buckets of one route's clients. ``client`` tells one from another."""

    __slots__ = ("_client", "_route")

    def __init__(self, route: RouteKey, client: ClientKey) -> None:
        self._route = hashlib.blake2b(str(route).encode(), digest_size=8)
        self._client = client

    def bucket(self, scope: Scope) -> int:
        """The bucket of the request's client: 0 to 9,999."""
        digest = self._route.copy()
        digest.update(self._client(scope))
        return int.from_bytes(digest.digest()) % BUCKETS


class ClientKeys:
    """What tells one client from another, by ``sticky`` as in switches.toml. A request without that cookie, header or
    user is known by its address and user agent.

    ``app`` is the Flask app, whose users are meant; ``user_key`` is where its session keeps who is logged in, if it is
    said. Raises nothing: a cookie that is Flask's signed session is taken for its user, with a line in the log.
    """

    def __init__(self, app: Flask | None = None, user_key: str | None = None) -> None:
        self._app = app
        self._user_key = user_key
        self._unknown: dict[str, UnknownUsers] = {}

    def __call__(self, sticky: str) -> ClientKey:
        kind, _, name = sticky.partition(":")
        if kind == "auto":
            kind = "user" if self._app is not None and (self._user_key or has_login(self._app)) else "client"
        if kind == "user" and self._app is not None:
            return _by_user(SessionUsers(self._app, key := name or self._user_key or USER_ID, self._saw(key)))
        if kind == "cookie":
            cookie = name.encode("latin-1")
            if self._app is not None and (users := SessionUsers(self._app)).signed and users.cookie == cookie:
                logger.error(_SIGNED, sticky)
                return self("user")
            return lambda scope: _cookie(scope, cookie) or _address_and_agent(scope)
        if kind == "header":
            return lambda scope: _header(scope, name.lower().encode("latin-1")) or _address_and_agent(scope)
        return _address_and_agent

    def _saw(self, key: str) -> Saw | None:
        """What looks whether anybody is known by ``key``; nothing does where Flask-Login keeps it there."""
        assert self._app is not None
        if key == USER_ID and has_login(self._app):
            return None
        return self._unknown.setdefault(key, UnknownUsers(key)).saw


def _by_user(users: SessionUsers) -> ClientKey:
    name, of = users.cookie, users.of

    def client(scope: Scope) -> bytes:
        cookie = _cookie(scope, name)
        return (of(cookie) if cookie else b"") or _address_and_agent(scope)

    return client


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
