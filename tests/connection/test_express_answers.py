"""The same requests on the express way, on the ASGI way and by Uvicorn's own protocol: the same bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connection.express_app import Gateway, Taken, connected, settled
from tests.connection.test_same_answers import BROKEN, chunked, get, post, without_continue

REQUESTS: dict[str, tuple[list[bytes], int, int]] = {
    # name: segments, answers, how many of them by the express way
    "a page": ([get("/")], 1, 1),
    "HEAD": ([get("/", method="HEAD"), get("/environ")], 2, 2),
    "OPTIONS": ([get("/", method="OPTIONS")], 1, 1),
    "204": ([get("/status/204"), get("/")], 2, 2),
    "304": ([get("/status/304"), get("/")], 2, 2),
    "errors of the app's": ([get("/status/404"), get("/nowhere"), get("/status/503"), get("/")], 4, 4),
    "405": ([get("/echo")], 1, 1),
    "headers": ([get("/headers", "Cookie: a=b; c=d", "Accept:", "X-A: 1", "x-a: 2", "X_B: 3")], 1, 1),
    "an environ": ([get("/environ?a=1&b=%20&c=a+b", "X-A: 1", "x-a: 2", "Cookie: a=b", "Cookie: c=d")], 1, 1),
    "an empty query": ([get("/environ?")], 1, 1),
    "an absolute target": ([get("http://other.example/environ?a=b")], 1, 1),
    "escapes in the path": ([get("/env%69ron"), get("/%e2%82%ac%2f%25"), get("/%ff"), get("//environ")], 4, 4),
    "a line break in the path": ([get("/environ%0a"), get("/native%0a")], 2, 1),
    "a proxy's headers": ([get("/environ", "X-Forwarded-For: 203.0.113.7, 127.0.0.9", "X-Forwarded-Proto: https",
                               "X-Forwarded-Host: shop.example.org", "X-Forwarded-Prefix: /shop")], 1, 1),
    "a request id": ([get("/", "X-Request-ID: mine-7"), get("/", "X-Request-ID: not sane")], 2, 2),
    "chunks": ([get("/chunks"), get("/")], 2, 2),
    "chunks of a length": ([get("/chunks-of-a-length"), get("/")], 2, 2),
    "HEAD of chunks": ([get("/chunks", method="HEAD"), get("/")], 2, 2),
    "a body": ([post("/echo", b"abc" * 100), post("/environ", b"{}", "Content-Type: application/json")], 2, 2),
    "an empty body": ([post("/echo", b"")], 1, 1),
    "a body in two segments": ([post("/echo", b"abcdef")[:-3], b"def", get("/")], 2, 1),
    "a body in chunks": ([chunked("/echo", b"abc", b"d" * 300), get("/")], 2, 1),
    "a body that nobody reads": ([post("/unread", b"x" * 1000), get("/")], 2, 2),
    "100-continue": ([post("/echo", b"abc", "Expect: 100-continue")[:-3], b"abc"], 1, 0),
    "pipelined": ([get("/") + post("/echo", b"abc") + get("/chunks") + get("/native") + get("/environ")], 5, 4),
    "HTTP/1.0": ([get("/", version="1.0"), get("/")], 1, 1),
    "Connection: close": ([get("/", "Connection: close"), get("/")], 1, 1),
    "the app closes": ([get("/close"), get("/")], 1, 1),
    "an error before the response": ([get("/raises"), get("/")], 2, 2),
    "an error in the response": ([get("/raises-late")], 1, 1),
    "a large answer": ([get("/big/70000"), get("/big/1500000"), get("/")], 3, 3),
    "native": ([get("/native"), post("/native", b"abc"), get("/items/7"), get("/items/x")], 4, 1),
    "a native path by another method": ([get("/items/7", method="PUT"), get("/native", method="DELETE")], 2, 0),
    "a slash that is missing": ([get("/slashed"), get("/slashed/")], 2, 0),
    "too large": ([post("/echo", b"x" * 2001, "Connection: close", "X-Request-ID: r")], 1, 0),
    "a method that is not HTTP's": ([get("/environ", method="PROPFIND")], 1, 0),
}  # fmt: skip
MADE = re.compile(rb"[0-9a-f]{16}-[0-9a-f]+")
REASON = re.compile(rb"(?<=HTTP/1.1 \d\d\d) [^\r]*")


def comparable(written: bytes) -> bytes:
    """Without the ids that were made."""
    return MADE.sub(b"(made)", written)


async def talk(way: str, segments: Sequence[bytes]) -> tuple[bytes, bool, bool]:
    """What the server writes, and whether it ends the connection, and its half of it first."""
    gateway = Gateway(max_body=2000)
    protocol, wire = await connected(way, gateway)
    for segment in segments:
        wire.arrive(segment)
        await settled(protocol, wire)
    gateway.mount.close(5)
    return comparable(wire.written), wire.closing, wire.ended


@pytest.mark.parametrize("other", ["asgi", "uvicorn"])
@pytest.mark.parametrize(("segments", "answers", "by_express"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_the_answers_are_the_same(
    segments: list[bytes], answers: int, by_express: int, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(monkeypatch)
    express = await talk("express", segments)
    assert taken.count == by_express
    written, closing, _ = await talk(other, segments)
    assert taken.count == by_express  # the other way is another way
    if other == "uvicorn":  # it knows the standard phrases only
        express, written = (REASON.sub(b"", express[0]), *express[1:]), REASON.sub(b"", written)
    assert express[0] == written
    assert express[1] == closing
    assert len(re.findall(rb"HTTP/1.1 [2-5]", written)) == answers


CLOSING = {"HTTP/1.0", "Connection: close", "the app closes", "100-continue"}
TIMED = {
    "a large answer",
    "too large",
    "chunks",
    "chunks of a length",
    "HEAD of chunks",
    "pipelined",
    "an error in the response",
}
"""When the parts of an answer were made decides where they go out; or how much of the body had come by then, how the
connection ends."""

STREAMS = {name: b"".join(segments) for name, (segments, _, _) in REQUESTS.items() if name not in TIMED}
KEPT = [stream for name, stream in STREAMS.items() if name not in CLOSING]


@given(
    parts=st.lists(st.sampled_from([*KEPT, *BROKEN]), min_size=1, max_size=3),
    last=st.sampled_from([b"", *STREAMS.values()]),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_the_answers_are_the_same_however_the_bytes_arrive(
    parts: list[bytes], last: bytes, data: st.DataObject
) -> None:
    stream = b"".join([*parts, last])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    segments = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]

    async def both() -> None:
        whole = await talk("asgi", [stream])
        split = await talk("express", segments)
        assert without_continue(split[0]) == without_continue(whole[0])
        assert split[1:] == whole[1:]

    asyncio.run(both())
