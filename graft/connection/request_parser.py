"""From the bytes of a connection to its requests: heads become scopes, bodies go to who answers. (loop)

The parser is httptools, on llhttp, as Uvicorn's own is. No byte of a body is taken for a request (upgrades.py), and
nothing is run after what can not be parsed, after ``Connection: close`` and after a request of HTTP/1.0.
"""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

import httptools

from graft.connection import upgrades
from graft.connection.limits import HEAD_LIMIT, MOST_HEADERS
from graft.types import PEER, Scope

if TYPE_CHECKING:
    from graft.connection.cycle import Cycle
    from graft.connection.protocol import Connection

Headers = list[tuple[bytes, bytes]]
Address = tuple[str, int | None] | None


class Refused(Exception):
    """A request that is not answered by the app: status and text."""


class RequestParser:
    """Of one connection: it is told of each request (``request``) and of each part of a body (``body``).

    ``reading`` is the cycle whose body comes in. ``last``: the request that is read is the connection's last one.
    ``handshake``: the head of a WebSocket's, and what came behind it.
    """

    reading: Cycle | None = None
    last = False
    handshake: tuple[bytes, bytes] | None = None
    in_head = False
    overhead = 0
    """Bytes since the last that belonged to a body."""

    _head_again = False  # the head is parsed for the second time, and nobody is told of it

    def __init__(self, connection: Connection, local: Address, remote: Address, scheme: str) -> None:
        self._connection = connection
        self._server = connection.server
        self._local = local
        self._remote = remote
        self._scheme = scheme
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: Headers = []
        self._noted: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> bool:
        """Work these bytes off. False: nothing that follows them is looked at. Raises Refused, where that is told."""
        self.overhead += len(data)
        while data:
            try:
                self._parser.feed_data(data)  # type: ignore[union-attr]
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                if self.last and self.reading is None:
                    return False
                cause = error.__context__
                raise (cause if isinstance(cause, Refused) else Refused(400, INVALID)) from None
            if self.handshake is not None:
                self.handshake = self.handshake[0], bytes(data)
                return False
            # llhttp has skipped the body, and takes what comes next for a new request: see upgrades.py. Uvicorn goes
            # on with this parser. A new one gets the same head without the upgrade, and reads the body.
            data = self._head_once_more() + bytes(data)
        if self.overhead > HEAD_LIMIT:
            raise Refused(431, b"Request head too large.") if self.in_head else Refused(400, INVALID)
        return True

    def end(self) -> None:
        """Nothing more comes. What refers to it, and it to that, would else be left to the garbage collector."""
        self._parser = None
        del self._connection

    def websocket_scope(self) -> Scope:
        """Of the handshake, as a request."""
        return self._scope("GET", "1.1", self._headers)

    def _head_once_more(self) -> bytes:
        """The head that was read, for a new parser, which tells nobody of it."""
        assert self.reading is not None
        scope = self.reading.scope
        self._parser = httptools.HttpRequestParser(self)
        self._head_again = True
        return upgrades.head(scope["method"].encode("ascii"), self._target, scope["http_version"], scope["headers"])

    # -- Calls of httptools' parser. What they raise comes out of its feed_data. --------------------------------------

    def on_message_begin(self) -> None:
        if self._head_again:
            return
        if self.last:
            raise Refused(400, INVALID)  # never told: what follows the last request is not looked at
        self.in_head = True
        self._target = b""
        self._headers = []
        self._noted = []

    def on_url(self, url: bytes) -> None:
        if not self._head_again:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # a trailer, which comes too late for whoever decides by headers; or a head parsed again
        name, is_noted = _names.get(name) or _learn_name(name)
        self._headers.append((name, value.rstrip(b" \t")))  # llhttp leaves it, no part of the value (RFC 9112, 5)
        if is_noted:
            self._noted.append(name)

    def on_headers_complete(self) -> None:
        self.overhead = 0
        if self._head_again:
            self._head_again = False
            return
        self.in_head = False
        parser, headers = self._parser, self._headers
        assert parser is not None
        method, version = parser.get_method(), parser.get_http_version()
        expects_continue = False
        if len(headers) > MOST_HEADERS:
            raise Refused(431, b"Too many headers.")
        if version not in ("1.1", "1.0"):
            raise Refused(505, b"HTTP version not supported.")
        if method == b"CONNECT":
            raise Refused(400, b"CONNECT is not served.")
        noted = self._noted
        is_plain = noted == _USUAL
        has_x = False
        if not is_plain:
            has_x = not _NOTED.issuperset(noted)
            if noted.count(b"host") > 1:
                raise Refused(400, b"Two hosts.")
            expects_continue = version == "1.1" and b"100-continue" in [
                value.lower() for name, value in headers if name == b"expect"
            ]
            if b"upgrade" in noted:
                websocket = parser.should_upgrade() and self._server.speaks_websocket
                if websocket and upgrades.is_handshake(method, version, headers):
                    self.handshake = upgrades.head(method, self._target, version, headers), b""
                    return
                headers = upgrades.without_upgrade(headers)
        keep_alive = version == "1.1" and parser.should_keep_alive()
        self.last = not keep_alive
        scope = self._scope(_METHODS.get(method) or method.decode("ascii"), version, headers)
        self.reading = self._connection.request(scope, keep_alive, expects_continue, is_plain, has_x)

    def _scope(self, method: str, version: str, headers: Headers) -> Scope:
        path, raw_path, query = _targets.get(self._target) or _learn_target(self._target)
        server = self._server
        if server.root_path:
            path = server.root_path + path
            raw_path = server.root_path.encode("ascii") + raw_path
        return {
            "type": "http",
            "asgi": server.asgi,
            "http_version": version,
            "server": self._local,
            "client": self._remote,
            PEER: self._remote,  # Uvicorn puts what a proxy says in the place of "client"
            "scheme": self._scheme,
            "root_path": server.root_path,
            "headers": headers,
            "state": server.app_state.copy(),
            "method": method,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
        }

    def on_body(self, body: bytes) -> None:
        self.overhead = 0
        cycle = self.reading
        if cycle is None:
            raise Refused(400, INVALID)
        self._connection.body(cycle, body)

    def on_message_complete(self) -> None:
        cycle = self.reading
        if cycle is None or self._parser is None or (self._parser.should_upgrade() and not self._head_again):
            return  # the end of a head whose body is still to be read, or of a handshake
        self.reading = None
        self.overhead = 0
        cycle.end()


def _learn_name(name: bytes) -> tuple[bytes, bool]:
    """The name of a header in lower case, and whether it says anything that the connection goes by."""
    lower = name.lower()
    learned = lower, lower in _NOTED or lower[:2] == b"x-"
    if len(name) <= LONGEST_KEPT and len(_names) < NAMES_KEPT:
        _names[name] = learned
    return learned


def _learn_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Path, raw path and query. Raises what httptools raises for a target that is none."""
    if target[:1] == b"/" and b"#" not in target:
        raw_path, _, query = target.partition(b"?")
    else:
        url = httptools.parse_url(target)
        raw_path, query = url.path or b"/", url.query or b""
    path = raw_path.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    if len(target) <= LONGEST_KEPT:
        if len(_targets) >= TARGETS_KEPT:
            _targets.clear()
        _targets[target] = path, raw_path, query
    return path, raw_path, query


NAMES_KEPT = 1000
TARGETS_KEPT = 1024
LONGEST_KEPT = 128
"""Names of headers and targets come from strangers: so many are remembered, of up to so many bytes."""

_names: dict[bytes, tuple[bytes, bool]] = {}
_targets: dict[bytes, tuple[str, bytes, bytes]] = {}

INVALID = b"Invalid HTTP request received."
_NOTED = frozenset({b"host", b"expect", b"upgrade", b"content-length", b"transfer-encoding"})
_USUAL = [b"host"]
_METHODS = {name.encode("ascii"): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
