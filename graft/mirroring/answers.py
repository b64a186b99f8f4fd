"""Answers: one request and what a side said to it, kept whole or not at all."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from graft.mirroring.failures import Failure
from graft.request_record import KEY
from graft.types import Message, Receive, Scope, Side

Headers = tuple[tuple[bytes, bytes], ...]


class Answer(NamedTuple):
    """What one side said. (A tuple: it is made twice for each mirrored request, in a fifth of a dataclass's time.)
    ``error`` is the traceback where it raised instead of answering: the status is 500 then.
    ``failure`` says in one line what went wrong, also where the app answered with its own page for errors."""

    side: Side
    status: int
    headers: Headers
    body: bytes
    latency_ms: float
    error: str | None = None
    failure: str | None = None

    def header(self, name: bytes) -> bytes | None:
        """All values of the header (its name in lower case) joined by commas; None without any."""
        values = [value for header, value in self.headers if header.lower() == name]
        return b", ".join(values) if values else None


def has_body(scope: Scope) -> bool:
    """May the request have a body? HTTP/1.1 announces one; with later versions only reading tells."""
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return True
    return not scope.get("http_version", "1.1").startswith("1")


def receive_of(body: bytes) -> Receive:
    """A ``receive`` that gives this body, and then waits for a disconnect that never comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return receive


class KeptBody:
    """A ``receive`` that keeps what it passes on, up to ``limit`` bytes, so that it can be given once more."""

    __slots__ = ("_limit", "_messages", "_receive", "_size", "complete")

    def __init__(self, receive: Receive, limit: int, complete: bool = False) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._messages: list[Message] = []
        self.complete = complete
        """the whole body has been seen; or there is none"""

    @property
    def overflowed(self) -> bool:
        return self._size > self._limit

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self._messages)

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self.overflowed:
                self._messages.clear()
            else:
                self._messages.append(message)
            self.complete = not message.get("more_body", False)
        return message

    def again(self) -> Receive:
        """A ``receive`` that starts from the first byte, and goes on where the first reader stopped."""
        kept = list(reversed(self._messages))
        if not kept and self.complete:
            kept = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            return kept.pop() if kept else await self._receive()

        return receive


class KeptAnswer:
    """What a side sends, kept message by message, up to ``limit`` bytes of body."""

    __slots__ = ("_chunks", "_ended", "_limit", "_size", "complete", "headers", "status", "unkept")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._chunks: list[bytes] = []
        self._ended = 0.0
        self.status = 0
        self.headers: Headers = ()
        self.complete = False
        self.unkept: str | None = None
        """why it is not kept: ``large`` or ``stream``"""

    def keep(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            self._add(message)
        elif kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.pathsend":
            self.unkept, self.complete = "large", True

    @property
    def body(self) -> bytes:
        return b"".join(self._chunks)

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        self.headers = tuple([(bytes(name), bytes(value)) for name, value in message.get("headers", ())])
        for name, value in self.headers:
            if value.startswith(_STREAMS) and name.lower() == b"content-type" and not self._has_end(value):
                self.unkept = "stream"

    def _has_end(self, content_type: bytes) -> bool:
        """Lines of JSON may go on for ever; with a length they do not."""
        return content_type.startswith(_LINES) and any(name.lower() == b"content-length" for name, _ in self.headers)

    def _add(self, message: Message) -> None:
        chunk = message.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limit:
            self.unkept = self.unkept or "large"
        if self.unkept:
            self._chunks.clear()
        elif chunk:
            self._chunks.append(bytes(chunk))
        if not message.get("more_body", False):
            self.complete, self._ended = True, time.perf_counter()

    def answer(self, side: Side, started: float, failure: Failure | None = None) -> Answer:
        """``started`` is the ``time.perf_counter()`` of the request."""
        line, trace = failure or (None, None)
        return Answer(side, self.status, self.headers, self.body, (self._ended - started) * 1000, trace, line)

    def failed(self, side: Side, started: float, failure: Failure) -> Answer:
        """In place of an answer that was not finished."""
        latency_ms = (time.perf_counter() - started) * 1000
        return Answer(side, 500, self.headers, self.body, latency_ms, failure.trace, failure.line)


_LINES = b"application/x-ndjson"
_STREAMS = (b"text/event-stream", b"multipart/x-mixed-replace", _LINES)


def copied_scope(scope: Scope) -> dict[str, Any]:
    """A scope that another run of the same request may change: nothing it sets reaches the first one."""
    copied = dict(scope)
    copied["headers"] = list(scope["headers"])
    if "state" in scope:
        copied["state"] = dict(scope["state"])
    copied.pop("extensions", None)
    copied.pop(KEY, None)  # each run has a record of its own
    return copied
