"""``X-Forwarded-Host``, ``-Port`` and ``-Prefix`` from trusted proxies; no ``X-Forwarded-*`` from anyone else.

Uvicorn reads ``X-Forwarded-For`` and ``-Proto`` from the peers in FORWARDED_ALLOW_IPS; this reads the rest from the
same peers, the last value of each, which is the nearest proxy's. ``-Ssl: on`` and ``-Protocol: ssl`` say https as they
do to Gunicorn, where nothing is said in ``-Proto``. An app that wraps itself in werkzeug's ``ProxyFix`` comes to the
same once more: the headers stay where a trusted peer sent them, but for a prefix that is honoured here, which it would
put in the place of the mount's own. What a stranger sent is taken out of the request, so neither side can believe it.

A proxy must set or clear the headers that are honoured: those it lets through are its client's, and are believed. Most
proxies set ``Host``, ``-For`` and ``-Proto``, and pass a client's own ``-Host``, ``-Port`` and ``-Prefix`` on, which no
app under Gunicorn believes: so none of those is honoured but by GRAFT_FORWARDED.

A request whose body another server's parser may have skipped is refused here, before anything else sees it, and its
connection closed: see upgrades.py.

With GRAFT_ALLOWED_HOSTS, a request that calls the site by another name gets 400 before either side sees it: no link in
a mail and no cached page can be made to point to a stranger's host.
"""

from __future__ import annotations

import copy
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from graft.connection import upgrades
from graft.connection.trusted_hosts import TrustedHosts
from graft.error_answers import error_response
from graft.types import PEER, ASGIApp, Receive, Scope, Send

RawHeaders = list[tuple[bytes, bytes]]
Apply = Callable[[Scope], None]


class ForwardedHeaders:
    """Pure ASGI middleware. ``trusted`` is FORWARDED_ALLOW_IPS: addresses and networks with commas between, or ``*``.

    ``honours`` is GRAFT_FORWARDED: which of ``host``, ``port`` and ``prefix`` the proxy sets or clears. ``allowed`` is
    GRAFT_ALLOWED_HOSTS: names without ports, ``.example.org`` for those below it as well; none, or ``*``: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        trusted: str = "127.0.0.1",
        honours: Iterable[str] = (),
        allowed: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._allowed = frozenset(allowed) if "*" not in allowed else frozenset()
        self._trusted = TrustedHosts(trusted)
        self._honoured = {b"host", *(_FORWARDED + name.encode("ascii") for name in honours)}
        # What a request is changed by. Most proxies send none of these, and the server has read what they do send.
        self._changing = (self._honoured | _SAYS_SECURE.keys()) - {b"host", b"x-forwarded-proto"}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """No coroutine of its own: it is on every path."""
        if scope["type"] != "lifespan":
            if scope["type"] == "http" and upgrades.skips_the_body(scope):
                return _refuse_upgrade(scope, receive, send)
            for name, _ in scope["headers"]:
                if name.startswith(_FORWARDED):
                    scope = self._applied(scope)
                    break
            if self._allowed and not self._allows(scope):
                return _turn_away(scope, receive, send)
        return self.app(scope, receive, send)

    @property
    def admits_all(self) -> bool:
        """Whether hosts of any name are served."""
        return not self._allowed

    def admit(self, scope: Scope, servers: Apply | None) -> Scope | None:
        """The scope that the app gets of a request of Graft's own connection; None where it is turned away.

        ``servers`` is what the server does to it before: see ``behind_the_servers``.
        """
        for name, _ in scope["headers"]:
            if name.startswith(_FORWARDED):
                if servers is not None:
                    servers(scope)
                scope = self._applied(scope)
                break
        return scope if not self._allowed or self._allows(scope) else None

    def _allows(self, scope: Scope) -> bool:
        """Whether the client called a name of ours. The health checks of machines call addresses: they may."""
        if scope["path"] in _OPEN:
            return True
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        host = _PORT_OF_HOST.sub("", hosts[0].decode("latin-1").lower()).removesuffix(".")
        if host in self._allowed or "." + host in self._allowed:
            return True
        return any("." + host.split(".", cut)[-1] in self._allowed for cut in range(1, host.count(".") + 1))

    def _applied(self, scope: Scope) -> Scope:
        if not self._vouched(scope):
            _warn_once(scope)
            return {**scope, "headers": [pair for pair in scope["headers"] if not pair[0].startswith(_FORWARDED)]}
        if self._changing.isdisjoint([name for name, _ in scope["headers"]]):
            return scope
        said = {
            name: value.decode("latin-1").rpartition(",")[2].strip()
            for name, value in scope["headers"]
            if name in self._honoured
        }
        headers = scope["headers"]
        if _PREFIX in self._honoured:
            headers = [pair for pair in headers if pair[0] != _PREFIX]
        host = _host(said, scope)
        if host is not None:
            headers = [pair for pair in headers if pair[0] != b"host"]
            headers.insert(0, (b"host", host.encode("latin-1")))
        scope = {**scope, "headers": headers}
        if _is_secure(headers):
            scope["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
        return _below(_prefix(said), scope)

    def _vouched(self, scope: Scope) -> bool:
        """Whether the peer is a trusted proxy. Uvicorn may have put the proxy's client in its place already.

        Graft's own connection keeps the peer's address, ``_peer_kept`` does under Uvicorn's others. Where neither has
        stood in front, as in a test, such a client has port 0, which no connection has.
        """
        if PEER in scope:
            peer = scope[PEER]
            return (peer[0] if peer else None) in self._trusted
        client = scope.get("client")
        return (client[0] if client else None) in self._trusted or (client is not None and client[1] == 0)


def _host(said: dict[bytes, str], scope: Scope) -> str | None:
    """The host that the client called, with its port unless that is the scheme's own; None if nothing is said of it."""
    host = said.get(b"x-forwarded-host", "")
    port = said.get(b"x-forwarded-port", "")
    if not _HOST(host):
        host = said.get(b"host", "")
        if not port or not _HOST(host):
            return None
    if port.isdecimal() and 0 < int(port) < 65536:
        host = f"{_PORT_OF_HOST.sub('', host)}:{port}"
    return host.removesuffix(_DEFAULT_PORTS.get(scope.get("scheme", "http"), ":80"))


def _is_secure(headers: RawHeaders) -> bool:
    """Whether the proxy says so by what Gunicorn's ``secure_scheme_headers`` has beside X-Forwarded-Proto, which goes
    before: Uvicorn has read that."""
    said = {name: value.strip().lower() for name, value in headers if name in _SAYS_SECURE}
    return b"x-forwarded-proto" not in said and any(_SAYS_SECURE[name] == value for name, value in said.items())


def _prefix(said: dict[bytes, str]) -> str:
    prefix = said.get(_PREFIX, "").rstrip("/")
    return prefix if _PATH(prefix) else ""


def _below(prefix: str, scope: Scope) -> Scope:
    """ASGI's ``path`` includes ``root_path``; the proxy has cut the prefix off."""
    if not prefix:
        return scope
    scope["root_path"] = prefix + scope.get("root_path", "")
    scope["path"] = prefix + scope["path"]
    if scope.get("raw_path"):
        scope["raw_path"] = prefix.encode("ascii") + scope["raw_path"]
    return scope


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "not a host of this site"})
        return
    answer = error_response(400, "This site does not go by that host name.", "unknown_host")
    await answer(scope, receive, send)


async def _refuse_upgrade(scope: Scope, receive: Receive, send: Send) -> None:
    """The server closes the connection with the answer, and drops what it may have read of the body as requests."""
    message = "No other protocol is spoken here: ask again without CONNECT, and without the header Upgrade."
    answer = error_response(400, message, "upgrade_refused", {"Connection": "close"})
    await answer(scope, receive, send)


def _warn_once(scope: Scope) -> None:
    global _warned
    if not _warned:
        _warned = True
        client = scope.get("client")
        log.warning(
            "X-Forwarded-* headers from %s are ignored. If that is your proxy, name it in FORWARDED_ALLOW_IPS",
            client[0] if client else "a unix socket",
        )


@functools.wraps(ProxyHeadersMiddleware.__call__)
async def _peer_kept(self: ProxyHeadersMiddleware, scope: Any, receive: Any, send: Any) -> None:
    """Uvicorn's own middleware, with the peer's address left in the scope where it puts the proxy's client."""
    scope.setdefault(PEER, scope.get("client"))
    await _uvicorns(self, scope, receive, send)


_uvicorns = ProxyHeadersMiddleware.__call__
ProxyHeadersMiddleware.__call__ = _peer_kept  # type: ignore[method-assign]


def behind_the_servers(app: ASGIApp) -> tuple[ASGIApp, Apply | None]:
    """The app behind Uvicorn's middleware for the headers of proxies, and what that does to a scope.

    ``app`` itself where it is not that middleware as Uvicorn ships it.
    """
    if type(app) is not ProxyHeadersMiddleware or ProxyHeadersMiddleware.__call__ is not _peer_kept:
        return app, None
    return app.app, AsUvicorn(app)  # type: ignore[return-value]  # Uvicorn has types of its own


class AsUvicorn:
    """Does to a scope what ``middleware`` does before it calls its app. (loop)

    ``known`` has what that made of the same words of the same peer: its parsing of addresses takes longer than all else
    in front of a view.
    """

    def __init__(self, middleware: ProxyHeadersMiddleware) -> None:
        self._alone: Any = copy.copy(middleware)
        self._alone.app = _nobody
        self.known: dict[tuple[Any, ...], tuple[Any, str]] = {}

    def __call__(self, scope: Scope) -> None:
        said = tuple([pair for pair in scope["headers"] if pair[0] in _READ_BY_UVICORN])
        peer, scheme = scope["client"], scope["scheme"]
        key = peer and peer[0], scope["type"], scheme, said
        found = self.known.get(key)
        if found is not None:
            client, scope["scheme"] = found
            if client is not None:
                scope["client"] = client
            return
        with suppress(StopIteration):
            _uvicorns(self._alone, scope, _nobody, _nobody).send(None)  # type: ignore[arg-type]  # it awaits its app alone
        if sum([len(value) for _, value in said]) <= LONGEST_KNOWN:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            self.known[key] = None if scope["client"] is peer else scope["client"], scope["scheme"]


async def _nobody(*_: Any) -> Any:
    """Stands where Uvicorn's middleware expects an app."""


log = logging.getLogger("graft")
_warned = False  # once a process: strangers may send these headers as often as they like

LONGEST_KNOWN = 200
MOST_KNOWN = 1024
"""Of what proxies pass on of their clients so many are remembered, with values of up to so many bytes."""

_FORWARDED = b"x-forwarded-"
_READ_BY_UVICORN = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_OPEN = ("/_graft/health", "/_graft/ready")
_PREFIX = b"x-forwarded-prefix"
_SAYS_SECURE = {b"x-forwarded-proto": b"", b"x-forwarded-protocol": b"ssl", b"x-forwarded-ssl": b"on"}
_SECURE = {"http": "https", "ws": "wss"}
_DEFAULT_PORTS = {"http": ":80", "ws": ":80", "https": ":443", "wss": ":443"}
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?").fullmatch
_PORT_OF_HOST = re.compile(r":\d+\Z")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+").fullmatch
