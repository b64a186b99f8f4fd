"""One response on its way from the worker thread that makes it to the loop that sends it.

A response that is known to be complete crosses once, whole. A stream crosses chunk by chunk, and never gets further
ahead of its client than a window.
"""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Callable

from graft.bridge.sent_file import SentFile
from graft.threads.scheduler import Scheduler
from graft.types import Message

# Chunks below this are joined on their way out, bigger ones go as they are.
JOINED = 64 * 1024


class ResponseAbandoned(BaseException):
    """Ends the work in the worker thread: nobody waits for the response any more."""


class ResponseChannel:
    """Each attribute has one writer, but for ``_loop_waits``. There is no lock: the order of each side's steps is what
    keeps a wake-up from being lost, and stands beside them.
    """

    # Written by the worker thread. (Defaults stand in the class: two objects a request are made on every path.)
    head: Message | None = None
    begun = False  # head and first chunk, or the end, are there to be sent
    ended = False  # no more chunks will come
    failure: str | None = None  # why it broke off; set before ``ended``
    is_short = False  # what there is of it is sent although it broke off; set before ``ended``
    app_closed = False  # the app's close() has run
    produced = 0  # bytes of the body
    file: SentFile | None = None  # all of the body; set before ``ended``
    _room: queue.SimpleQueue[None] | None = None
    # Written by the loop.
    abandoned = False
    _taken = 0
    _arrival: asyncio.Future[None] | None = None
    _app_close: asyncio.Future[None] | None = None
    _on_arrival: Callable[[], None] | None = None
    _on_app_close: Callable[[], None] | None = None
    # Set by the loop before it waits, cleared by the thread that wakes it.
    _loop_waits = False

    def __init__(self, scheduler: Scheduler, window: int) -> None:
        """``window`` is how many bytes the thread may be ahead of the client."""
        self._scheduler = scheduler
        self._window = window
        self.chunks: deque[bytes] = deque()  # the thread appends, the loop pops: single operations, which are atomic

    # In the worker thread.

    def put(self, chunk: bytes) -> None:
        """Add a chunk that is sent with the next one or with the end."""
        self.produced += len(chunk)
        self.chunks.append(chunk)

    def flush(self) -> None:
        """Have the loop send what was put, and wait while that is more than a window. Raises ResponseAbandoned."""
        self._announce()
        if self.produced - self._taken <= self._window:
            return
        # First the queue is put where the loop finds it, then comes the look; the loop counts what it took (or sets
        # ``abandoned``) before it looks for the queue. So the last chunk taken is counted here, or fills the queue.
        room = self._room = self._room or queue.SimpleQueue()
        while self.produced - self._taken > self._window and not self.abandoned:
            room.get()
        if self.abandoned:
            raise ResponseAbandoned

    def end_with_file(self, file: SentFile) -> None:
        """``file`` is all of the body; whoever sends it closes it."""
        # First the file is put where the loop finds it, then comes the look; the loop sets ``abandoned`` before it
        # looks for a file to close.
        self.file = file
        if self.abandoned:
            file.close()
            raise ResponseAbandoned
        self.end()

    def end(self, failure: str | None = None) -> None:
        """No more chunks will come; ``failure`` says why that is not the end of the response. The first end counts."""
        if not self.ended:
            self.failure = failure
            self.ended = True
            self._announce()

    def announce_app_closed(self) -> None:
        # First the flag, then the look for a waiter; ``wait_for_app_close`` puts its waiter down before it looks.
        self.app_closed = True
        if self._app_close is not None or self._on_app_close is not None:
            self._scheduler.post(self._wake_app_close)

    def _announce(self) -> None:
        # The chunk or the end is there before this look at ``_loop_waits``; the loop sets that before it looks for
        # chunks. So either the loop finds them, or it is woken. Clearing the flag saves a wake-up for each further
        # chunk; if the loop sets it again at that moment, it also looks again.
        self.begun = True
        if self._loop_waits:
            self._loop_waits = False
            self._scheduler.post(self._wake)

    # On the loop.

    def call_at_arrival(self, callback: Callable[[], None] | None) -> None:
        """What ``wait`` waits for, as one call on the loop; None takes it back. To be set before the thread begins."""
        self._on_arrival = callback
        self._loop_waits = callback is not None

    def call_at_app_close(self, callback: Callable[[], None]) -> None:
        """What ``wait_for_app_close`` waits for, as one call: at once where the app's close() has run."""
        # First the callback, then the look; the thread sets the flag before it looks for the callback.
        self._on_app_close = callback
        if self.app_closed:
            self._wake_app_close()

    async def wait(self) -> None:
        """Wait until there is something to send, the end, or nobody to send it to."""
        self._arrival = self._scheduler.loop.create_future()
        self._loop_waits = True
        if not (self.chunks and self.begun) and not self.ended:
            await self._arrival
        self._loop_waits = False

    def take(self) -> bytes:
        """The next part of the body: one big chunk, or small ones joined. Empty when nothing is there."""
        chunks = self.chunks
        if not chunks:
            return b""
        part = chunks.popleft()
        if chunks and len(part) < JOINED:
            parts = [part]
            size = len(part)
            while chunks and size + len(chunks[0]) <= JOINED:
                parts.append(chunks.popleft())
                size += len(parts[-1])
            part = b"".join(parts)
        self._taken += len(part)
        room = self._room
        if room is not None and self.produced - self._taken <= self._window // 2:
            room.put(None)
        return part

    def abandon(self) -> None:
        """Nobody waits any more: both sides are woken, and the thread ends its work."""
        self.abandoned = True
        self.chunks.clear()
        room = self._room
        if room is not None:
            room.put(None)
        if not self._scheduler.loop.is_closed():  # else the server went down in the middle of it
            self._wake()

    async def wait_for_app_close(self) -> None:
        """Wait until the app's close() has run. It has, nearly always, by the time the response is sent."""
        if not self.app_closed:
            self._app_close = self._scheduler.loop.create_future()
            if not self.app_closed:
                await self._app_close

    def leave_app(self) -> None:
        """Nobody waits for the app's close() any more, though it has not run."""
        self._wake_app_close()

    def _wake(self) -> None:
        callback, self._on_arrival = self._on_arrival, None
        if callback is not None:
            callback()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _wake_app_close(self) -> None:
        callback, self._on_app_close = self._on_app_close, None  # posted and found closed: it is called once
        if callback is not None:
            callback()
        if self._app_close is not None and not self._app_close.done():
            self._app_close.set_result(None)
