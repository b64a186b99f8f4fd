"""A request body as ``wsgi.input``: the raw stream below an ``io.BufferedReader``, which adds the methods of a file."""

from __future__ import annotations

import io
from collections.abc import Callable

from graft.bridge.body_errors import ClientStalled


class BodyFile(io.RawIOBase):
    """One reader, for one thread at a time. ``read_at`` gives the bytes from a position on, b"" at the end."""

    def __init__(self, read_at: Callable[[int], bytes]) -> None:
        self._read_at = read_at
        self._position = 0
        self._chunk = memoryview(b"")  # what is left of the bytes that were read last
        self._stalled: ClientStalled | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        chunk = self._chunk or self._next()
        size = min(len(chunk), len(target))
        target[:size] = chunk[:size]
        self._chunk = chunk[size:]
        return size

    def readall(self) -> bytes:
        parts = [bytes(self._chunk)]
        self._chunk = memoryview(b"")
        while chunk := self._next():
            parts.append(bytes(chunk))
        return b"".join(parts)

    def _next(self) -> memoryview:
        if self._stalled is not None:
            raise self._stalled  # it was given up once: the next read does not wait as long again
        try:
            chunk = self._read_at(self._position)
        except ClientStalled as error:
            self._stalled = error
            raise
        self._position += len(chunk)
        return memoryview(chunk)
