"""``wsgi.input`` of a body that is too big, or too uncertain, to be read before the view runs.

The loop feeds, a worker thread reads, never more than a window lies between them. A small body needs none of this:
it is an ``io.BytesIO``.
"""

from __future__ import annotations

import asyncio
import functools
import io
import queue
from collections.abc import Callable

from werkzeug.exceptions import BadRequest, ClientDisconnected, RequestEntityTooLarge, RequestTimeout

# What may wait between the socket and the view, in bytes.
WINDOW = 1024 * 1024
# One read of the C buffer above the stream.
BLOCK = 64 * 1024

Post = Callable[[Callable[[], None]], None]


# Flask answers these in its own words and without a traceback; other WSGI apps see the OSError.
class ClientGone(ClientDisconnected, ConnectionResetError):
    """The client left before its body was complete, or nobody waits for the answer any more."""


class ClientStalled(RequestTimeout, TimeoutError):
    """The client sent nothing of its body for longer than ``stall_timeout``."""


class BodyTooLarge(RequestEntityTooLarge, OSError):
    """The body grew past GRAFT_MAX_BODY."""


class BodyDropped(BadRequest, OSError):
    """The view streamed its answer and left the body unread for too long, so the rest was thrown away."""


class Body(io.RawIOBase):
    """The raw stream; ``buffered`` gives it every method of a file. ``wanted`` is settled by the first read."""

    def __init__(self, post: Post, stall_timeout: float | None, wanted: asyncio.Future[None] | None = None) -> None:
        super().__init__()
        self._chunks: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self._chunk = memoryview(b"")
        self._end: Exception | None = None
        self._ended = False
        self._post = post
        self._stall_timeout = stall_timeout
        # Each counter has one writer: the loop counts what it fed, the thread what it took.
        self._fed = 0
        self._taken = 0
        self._room: asyncio.Future[None] | None = None
        self._wanted = wanted

    def buffered(self) -> io.BufferedReader:
        return io.BufferedReader(self, BLOCK)

    # On the loop.

    def feed(self, chunk: bytes) -> None:
        if chunk:
            self._fed += len(chunk)
            self._chunks.put(chunk)

    def end(self, error: Exception | None = None) -> None:
        """No more will come: the reader gets end of file, or ``error``, after what is there. The first end counts."""
        if not self._ended:
            self._ended = True
            self._chunks.put(b"" if error is None else error)

    @property
    def full(self) -> bool:
        return self._fed - self._taken >= WINDOW

    async def room(self) -> None:
        """Wait until the thread has taken some."""
        while self.full:
            self._room = asyncio.get_running_loop().create_future()
            if self.full:  # the thread may have read between the two lines above
                await self._room
            self._room = None

    # In the thread.

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        chunk = self._chunk
        if not chunk:
            chunk = self._next()
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
        """The next chunk, waiting for it; empty at the end. Raises what the body ended in."""
        if self._end is not None:
            raise self._end
        if self._wanted is not None:
            self._post(functools.partial(_settle, self._wanted))
            self._wanted = None
        try:
            chunk = self._chunks.get(timeout=self._stall_timeout)
        except queue.Empty:
            chunk = ClientStalled()
        if isinstance(chunk, Exception):
            self._end = chunk
            raise chunk
        if not chunk:
            self._chunks.put(b"")  # so that reading on finds the end again
            return memoryview(b"")
        self._taken += len(chunk)
        room = self._room
        if room is not None and self._fed - self._taken <= WINDOW // 2:
            self._post(functools.partial(_settle, room))
        return memoryview(chunk)


def _settle(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)
