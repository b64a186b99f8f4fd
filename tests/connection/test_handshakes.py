"""What is the handshake of a WebSocket, and that all else is a request with its body."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graft.connection.upgrades import is_handshake
from tests.connection.test_chosen import HANDSHAKE
from tests.connection.test_protocol import serving

HEADERS = [
    (b"host", b"x"),
    (b"connection", b"Upgrade"),
    (b"upgrade", b"WebSocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]
OTHERS: dict[str, tuple[bytes, str, list[tuple[bytes, bytes]]]] = {
    "another method": (b"POST", "1.1", HEADERS),
    "HTTP/1.0": (b"GET", "1.0", HEADERS),
    "another protocol": (b"GET", "1.1", [*HEADERS[:2], (b"upgrade", b"h2c"), *HEADERS[3:]]),
    "two protocols in one": (b"GET", "1.1", [*HEADERS[:2], (b"upgrade", b"websocket, h2c"), *HEADERS[3:]]),
    "two protocols": (b"GET", "1.1", [*HEADERS, (b"upgrade", b"h2c")]),
    "no protocol": (b"GET", "1.1", [*HEADERS[:2], *HEADERS[3:]]),
    "an old version": (b"GET", "1.1", [*HEADERS[:3], (b"sec-websocket-version", b"8"), HEADERS[4]]),
    "two versions": (b"GET", "1.1", [*HEADERS, (b"sec-websocket-version", b"13")]),
    "no key": (b"GET", "1.1", HEADERS[:4]),
    "an empty key": (b"GET", "1.1", [*HEADERS[:4], (b"sec-websocket-key", b"")]),
    "two keys": (b"GET", "1.1", [*HEADERS, HEADERS[4]]),
    "a length": (b"GET", "1.1", [*HEADERS, (b"content-length", b"5")]),
    "chunks": (b"GET", "1.1", [*HEADERS, (b"transfer-encoding", b"chunked")]),
}


def test_a_handshake_is_one() -> None:
    assert is_handshake(b"GET", "1.1", HEADERS)
    assert is_handshake(b"GET", "1.1", [*HEADERS, (b"content-length", b"0")])


@pytest.mark.parametrize("what", OTHERS)
def test_what_lacks_a_part_or_has_a_body_is_none(what: str) -> None:
    assert not is_handshake(*OTHERS[what])


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_handshake_with_a_body_is_a_request_and_the_next_one_follows_it(framed: bytes, apart: bool) -> None:
    seen: list[tuple[str, bytes]] = []

    async def tells(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.append((scope["type"], message.get("body", b"")))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(tells) as served, asyncio.timeout(30):
        reader, writer = await served.connect()
        head, blank, body = framed.partition(b"\r\n\r\n")
        writer.write(HANDSHAKE.removesuffix(b"\r\n") + head + blank + (b"" if apart else body))
        if apart:
            await asyncio.sleep(0.02)
            writer.write(body)
        writer.write(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
        writer.close()
    assert seen == [("http", b"hello"), ("http", b"")]
