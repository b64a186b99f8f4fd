"""Where the received part of a request body lies: passed on once, or kept to be read again.

The loop appends, worker threads read. Neither waits for the other, but for the file of a large kept body, which one of
them uses at a time.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from tempfile import TemporaryFile
from typing import IO

from graft.bridge.body_errors import BodyNotKept, ClientGone

# Of a kept body so many bytes stay in memory; what is beyond goes into a temporary file.
IN_MEMORY = 1024 * 1024
# One read out of what is kept, in bytes.
BLOCK = 64 * 1024


class ChunkQueue:
    """Chunks for one reader, each read once. ``append`` is the loop's, ``read`` the reader's."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()  # its single operations are atomic

    def append(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def read(self, position: int) -> bytes:
        """The next chunk; empty when none is there."""
        try:
            return self._chunks.popleft()
        except IndexError:
            return b""

    def close(self) -> None:
        self._chunks.clear()


class KeptBytes:
    """Bytes for any number of readers, each at a position of its own. ``append`` is the loop's, ``read`` anyone's."""

    def __init__(self, start: int = 0) -> None:
        """``start`` is the position of the first byte."""
        self._start = start
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._using_file = threading.Lock()
        self._closed = False
        self._last = (start, b"")
        self.size = 0
        """What is kept. Written by the loop, and only after the bytes themselves: a reader that sees the size finds
        them."""
        self.complete = True
        """Whether every chunk was kept."""

    def append(self, chunk: bytes, *, keep: bool = True) -> None:
        """With ``keep=False`` the chunk can be read until the next one comes, and nothing is kept from then on."""
        self._last = (self._last[0] + len(self._last[1]), chunk)
        self.complete = self.complete and keep
        if not self.complete:
            return
        # The memory only ever grows at its end, so a reader's slice is right whether it comes before or after this.
        in_memory = chunk[: max(IN_MEMORY - len(self._memory), 0)]
        self._memory += in_memory
        if len(in_memory) < len(chunk):
            with self._using_file:
                if self._file is None:
                    self._file = TemporaryFile()  # noqa: SIM115 - closed by close()
                self._file.seek(0, io.SEEK_END)
                self._file.write(chunk[len(in_memory) :])
        self.size += len(chunk)

    def read(self, position: int) -> bytes:
        """Some bytes from ``position`` on; empty when none is there. Raises BodyNotKept, and ClientGone after close."""
        # Looked at first: while chunks are kept, what is not found below is on its way and found by the next call.
        complete = self.complete
        start, last = self._last
        if position == start and last:
            return last
        offset = position - self._start
        if offset < len(self._memory):
            return bytes(self._memory[offset : offset + BLOCK])
        if offset < self.size:
            with self._using_file:
                if self._file is not None:
                    self._file.seek(offset - IN_MEMORY)
                    return self._file.read(BLOCK)
        if self._closed:
            raise ClientGone
        if not complete and position < start + len(last):
            raise BodyNotKept(f"of a body that the native route streams only the first {self.size} bytes are kept")
        return b""

    def close(self) -> None:
        with self._using_file:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None
