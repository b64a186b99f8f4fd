"""Requests that ask for another protocol on their connection. A WebSocket's handshake gets one, nothing else does.

**What goes wrong without this.** llhttp, the parser in httptools, stops at the end of the head of every request that
has ``Upgrade: x`` and ``Connection: upgrade``, whatever x is, and of every CONNECT: it skips the body, and takes what
comes next for a new request. httptools can not tell it otherwise (its ``cb_on_headers_complete`` answers 1, "no body",
whenever ``parser.upgrade`` is set), and Uvicorn goes on reading from the same parser after the warning "Unsupported
upgrade request." (``HttpToolsProtocol.data_received``, seen in 0.40 to 0.54). So whoever puts a request into such a
body has two requests executed where a proxy in front sees one, and each later answer on that connection goes to
somebody else's request.
"""

from __future__ import annotations

from collections.abc import Iterable

from graft.types import Scope

Headers = Iterable[tuple[bytes, bytes]]


def is_handshake(method: bytes, version: str, headers: Headers) -> bool:
    """Is this the handshake of RFC 6455, section 4.1? Header names in lower case.

    A handshake has no body: what follows it belongs to the WebSocket. With one, it is an ordinary request. Whether its
    key is 16 bytes in base64 is for the library to judge that answers: probes send others, and some take them.
    """
    upgrades, keys, versions = [], [], []
    for name, value in headers:
        if name == b"upgrade":
            upgrades.append(value.lower())
        elif name == b"sec-websocket-key":
            keys.append(value)
        elif name == b"sec-websocket-version":
            versions.append(value)
        elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return False
    if method != b"GET" or version != "1.1" or upgrades != [b"websocket"] or versions != [b"13"]:
        return False
    return len(keys) == 1 and keys[0] != b""


def without_upgrade(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an ordinary request: ``Upgrade`` is between the client and this server, and is not taken up."""
    return [pair for pair in headers if pair[0] != b"upgrade"]


def head(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The head of a request, as bytes for a parser. The parts are a parser's: none has a line break in it."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode("ascii"))]
    lines += [b"%b: %b" % pair for pair in headers]
    return b"\r\n".join([*lines, b"", b""])


def skips_the_body(scope: Scope) -> bool:
    """May the parser of the server that made ``scope`` have skipped this request's body? (ASGI, http)

    Only another server's protocol hands on such a request: Graft's own takes the header away and reads the body. What
    that parser takes for the next request must never be run, which ``Connection: close`` in the answer sees to.
    """
    upgrade = connection = False
    for name, value in scope["headers"]:
        if name == b"upgrade":
            upgrade = True
        elif name == b"connection":
            connection = connection or b"upgrade" in value.lower()
    return (upgrade and connection) or scope.get("method") == "CONNECT"
