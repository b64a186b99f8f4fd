"""The same requests by Graft's connection and by Uvicorn's two: the same answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graft.connection.protocol import Connection
from tests.connection.wire import answers, converse, everything


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: example.org", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def post(path: str, body: bytes, *headers: str, **more: Any) -> bytes:
    return get(path, f"Content-Length: {len(body)}", *headers, method="POST", body=body, **more)


def chunked(path: str, *chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"
    return get(path, "Transfer-Encoding: chunked", method="POST", body=body)


REQUESTS: dict[str, tuple[list[bytes], list[str]]] = {
    "a page": ([get("/")], ["GET"]),
    "HEAD": ([get("/", method="HEAD"), get("/scope")], ["HEAD", "GET"]),
    "HEAD of chunks": ([get("/chunks", method="HEAD"), get("/")], ["HEAD", "GET"]),
    "204": ([get("/status/204"), get("/")], ["GET"] * 2),
    "304": ([get("/status/304"), get("/")], ["GET"] * 2),
    "an unknown status": ([get("/status/299")], ["GET"]),
    "chunks": ([get("/chunks"), get("/")], ["GET"] * 2),
    "a late body": ([get("/late"), get("/")], ["GET"] * 2),
    "a body": ([post("/echo", b"abc" * 100), get("/")], ["POST", "GET"]),
    "an empty body": ([post("/echo", b"")], ["POST"]),
    "a body in chunks": ([chunked("/echo", b"abc", b"d" * 300), get("/")], ["POST", "GET"]),
    "chunk extensions": ([get("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3;a=b\r\nabc\r\n0\r\n\r\n")],
                         ["POST"]),
    "a body that nobody reads": ([post("/unread", b"x" * 1000), get("/")], ["POST", "GET"]),
    "HTTP/1.0": ([get("/", version="1.0"), get("/")], ["GET"]),
    "Connection: close": ([get("/", "Connection: close"), get("/")], ["GET"]),
    "close in a list": ([get("/", "Connection: x, Close"), get("/")], ["GET"]),
    "the app closes": ([get("/close"), get("/")], ["GET"]),
    "a query": ([get("/scope?a=1&b=%20&c=a+b")], ["GET"]),
    "an empty query": ([get("/scope?")], ["GET"]),
    "escapes in the path": ([get("/sc%6fpe"), get("/%e2%82%ac%2f%25")], ["GET"] * 2),
    "headers": ([get("/scope", "X-A: 1", "x-a: 2", "Cookie: a=b; c=d", "Accept:")],
                ["GET"]),
    "other methods": ([get("/scope", method=method) for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")],
                      ["PUT"] * 5),
    "an error before the response": ([get("/raises"), get("/")], ["GET"]),
    "an error in the response": ([get("/raises-late")], ["GET"]),
    "no response": ([get("/nothing")], ["GET"]),
    "100-continue": ([post("/echo", b"abc", "Expect: 100-continue")[:-3], b"abc"], ["POST"]),
    "a large answer": ([get("/big/70000"), get("/big/1500000"), get("/")], ["GET"] * 3),
}  # fmt: skip
OTHERS = {"httptools": HttpToolsProtocol, "h11": H11Protocol}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize(("segments", "methods"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_the_answers_are_the_same(
    segments: list[bytes], methods: list[str], other: type[asyncio.Protocol]
) -> None:
    ours, theirs = [await converse(kind, everything, segments) for kind in (Connection, other)]
    assert ours.closing == theirs.closing
    if other is HttpToolsProtocol:
        assert ours.written == theirs.written
    else:  # h11 frames the answers to HEAD and its own errors in another way
        assert framed(ours.written, methods) == framed(theirs.written, methods)


def framed(written: bytes, methods: list[str]) -> list[Any]:
    frame = (b"content-length", b"transfer-encoding")
    return [
        (status, [pair for pair in headers if pair[0] not in frame], body)
        for status, headers, body in answers(written, methods)
    ]


CLOSING = ("HTTP/1.0", "Connection: close", "close in a list", "the app closes", "an error before the response",
           "an error in the response", "no response", "100-continue")  # fmt: skip
STREAMS = {name: b"".join(segments) for name, (segments, _) in REQUESTS.items()}
KEPT = [stream for name, stream in STREAMS.items() if name not in CLOSING]
BROKEN = [b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"\x16\x03\x01", b"GET / HTTP/9.9\r\n\r\n",
          get("/echo", "Transfer-Encoding: gzip", method="POST"),
          get("/echo", "Content-Length: 1", "Content-Length: 2"),
          get("/echo", "Transfer-Encoding: chunked", method="POST", body=b"zz\r\n"),
          get("/", "Host: two"), get("x:1", method="CONNECT"), get("/", version="2.0"),
          get("/", "Connection: upgrade", "Upgrade: foo", "Content-Length: 18", body=b"GET / HTTP/1.1\r\n\r\n"),
          post("/echo", b"x" * 90_000, "Connection: upgrade", "Upgrade: h2c"),
          get("/echo", "Connection: upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked", method="POST",
              body=b"5\r\nhello\r\n0\r\n\r\n"),
          get("/echo", "Connection: upgrade", "Upgrade: h2c", "Transfer-Encoding: gzip", method="POST"),
          b"\r\n\r\n" + get("/")]  # fmt: skip


@given(
    parts=st.lists(st.sampled_from([*KEPT, *BROKEN]), min_size=1, max_size=4),
    last=st.sampled_from([b"", *STREAMS.values()]),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_the_answers_are_the_same_however_the_bytes_arrive(
    parts: list[bytes], last: bytes, data: st.DataObject
) -> None:
    stream = b"".join([*parts, last])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    segments = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]

    async def both() -> None:
        whole = await converse(Connection, everything, [stream])
        split = await converse(Connection, everything, segments)
        assert without_continue(split.written) == without_continue(whole.written)
        assert split.closing == whole.closing
        assert split.ended == whole.ended

    asyncio.run(both())


def without_continue(written: bytes) -> bytes:
    """Whether a client that waits is told to go on depends on whether it waited."""
    return written.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
