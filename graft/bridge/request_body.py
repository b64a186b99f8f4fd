"""The body of one request: received on the loop, read as a file in worker threads, awaited on the loop.

The mount streams a body into the view: its ``RequestBody`` receives ahead of the reader by ``WINDOW`` bytes at most
(``receive_ahead``) and keeps nothing that was read. A native route shares its body with the Flask app's hooks and with
``legacy.run``: there it is received when somebody asks for it, and kept (``keep=True``), so that each reader has all of
it: 1 MiB in memory and the rest in a temporary file, which goes with the request. Of a body that nobody but the native
route reads the first ``KEPT_FOR_LATER`` bytes are kept; an upload beyond that streams, and legacy code that comes for
it afterwards is told so by BodyNotKept instead of given a part.

Limits hold wherever it is read: ``limit`` bytes (BodyTooLarge, 413), ``stall_timeout`` seconds in which a thread waits
for the client (ClientStalled, 408). What goes beyond the declared ``length`` is cut off, what falls short of it is an
error (BodyIncomplete, 400). A client that leaves is an error too, never an early end of file.
"""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from graft.bridge.body_errors import (
    BodyDropped,
    BodyIncomplete,
    BodyNotReceived,
    BodyTooLarge,
    ClientGone,
    ClientStalled,
)
from graft.bridge.body_file import BodyFile
from graft.bridge.body_store import BLOCK, ChunkQueue, KeptBytes
from graft.types import Message, Receive

log = logging.getLogger("graft.legacy")

# What may wait between the socket and the view, in bytes.
WINDOW = 1024 * 1024
# What is kept for legacy code of a body that the native route reads, in bytes.
KEPT_FOR_LATER = 64 * 1024 * 1024

# Where the environ has the RequestBody of a body that is received while the view runs.
IN_ENVIRON = "graft.request_body"

Post = Callable[[Callable[[], None]], object]


class RequestBody:
    """Made on the loop that ``receive`` belongs to. Coroutine methods and ``end`` are for that loop, ``open`` and what
    it returns for any thread.

    ``client_waits``: it sends the body when it is told to, which the first call of ``receive`` makes the server do.
    ``post`` calls a function on the loop soon, from any thread. ``on_demand`` is called on the loop when a thread waits
    for bytes; without it a kept body receives them by itself, and one that is not kept has ``receive_ahead`` running.
    """

    # Written by the loop. Threads look at these without a lock; the order of writing is what makes that right.
    size = 0
    """How many bytes have been received."""
    ended = False
    error: Exception | None = None
    """What it ended in, other than its end."""
    complete = False
    """Whether the server has said that no more comes."""
    receive_timeout: float | None = None
    """How long ``receive`` waits for the client, in seconds."""
    _replayed = 0  # how much ``receive`` has returned
    _end_returned = False
    _room: asyncio.Future[None] | None = None
    _task: asyncio.Task[None] | None = None
    # Written by the reader of a body that is not kept.
    _taken = 0

    def __init__(
        self,
        receive: Receive,
        *,
        length: int | None = None,
        limit: int | None = None,
        stall_timeout: float | None = None,
        keep: bool = False,
        client_waits: bool = False,
        post: Post | None = None,
        on_demand: Callable[[], None] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.length = length
        self.client_waits = client_waits
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._receive = receive
        self._limit = limit
        self.stall_timeout = stall_timeout
        self._post: Post = post or loop.call_soon_threadsafe
        self._on_demand = on_demand or (self._receive_for_thread if keep else None)
        self.on_arrival: set[Callable[[], None]] = set()  # called after each part; see WorkTimeout
        self._receiving = asyncio.Lock()  # one at a time may call receive()
        self._store: ChunkQueue | KeptBytes = KeptBytes() if keep else ChunkQueue()
        # Written by both, in single operations of a deque, which are atomic.
        self._waiting: deque[threading.Lock] = deque()

    def open(self) -> io.BufferedReader:
        """The body as a file (``wsgi.input``), from its first byte; any thread. Without ``keep``, for one reader.

        It raises the errors of ``body_errors``. Bytes that have yet to be received can't be waited for in the thread of
        the loop itself: BodyNotReceived. ``await load()`` first, there.
        """
        return io.BufferedReader(BodyFile(self.read), BLOCK)

    # Receiving, on the loop.

    async def content(self) -> bytes:
        """All of it, for whoever reads it before it is given to anybody. Raises the error that it ended in."""
        while not self.ended:
            self.append(await self._receive())
        if self.error is not None:
            raise self.error
        chunks = []
        while chunk := self._store.read(self._taken):
            self._taken += len(chunk)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def load(self, size: int | None = None) -> None:
        """Receive ``size`` bytes, or all: no read of those waits any more, on whatever thread.

        The window does not apply: what is not kept yet is from now on, on disk where it is large. No thread may be
        reading meanwhile. Raises ClientStalled; other errors are for those who read.
        """
        if isinstance(self._store, ChunkQueue):
            self._keep_from(self._taken)
        while not self.ended and (size is None or self.size < size):
            await self._receive_in_time(self.size, self.stall_timeout)

    async def receive_ahead(self, may_drop: Callable[[], bool] = lambda: False) -> None:
        """Receive to the end, by ``WINDOW`` ahead of the reader at most.

        When the reader takes nothing for ``stall_timeout`` seconds and ``may_drop()`` says so, the rest is dropped:
        then the caller can see whether the client is still there.
        """
        while not self.ended:
            if not await self._has_room(may_drop):
                self.end(BodyDropped())
                return
            await self._receive_more(self.size)

    async def receive(self) -> Message:
        """ASGI's ``receive`` for a native route: the whole body from its first byte, whoever has read it before."""
        if self._replayed >= self.size and not self.ended:
            await self._receive_in_time(self._replayed, self.receive_timeout, streams=True)
        chunk = self._store.read(self._replayed)
        if chunk:
            self._replayed += len(chunk)
            more = not (self.ended and self.error is None and self._replayed >= self.size)
            self._end_returned = not more
            return {"type": "http.request", "body": chunk, "more_body": more}
        if isinstance(self.error, ClientGone):
            return {"type": "http.disconnect"}
        if self.error is not None:
            raise self.error
        if not self._end_returned:
            self._end_returned = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._receive()  # the client's leaving is all that can still come

    def end(self, error: Exception | None = None) -> None:
        """No more will come: readers get end of file, or ``error``, after what is there. The first end counts."""
        if not self.ended:
            self.error = error  # before ``ended``: a thread that sees the end looks for its error next
            self.ended = True
        self._wake_threads()

    def close(self) -> None:
        """The request is over: threads that still wait get ClientGone, and what was kept is given up."""
        if not self.ended:
            self.end(ClientGone())
        if self._task is not None:
            self._task.cancel()
        self._on_demand = None  # no cycle for the garbage collector
        self._store.close()

    async def _receive_in_time(self, beyond: int, timeout: float | None, *, streams: bool = False) -> None:
        if timeout is None:
            return await self._receive_more(beyond, streams=streams)
        try:
            async with asyncio.timeout(timeout) as timer:
                await self._receive_more(beyond, streams=streams)
        except TimeoutError:
            if timer.expired():
                raise ClientStalled from None
            raise

    async def _receive_more(self, beyond: int, *, streams: bool = False) -> None:
        """Receive until there is more than ``beyond`` bytes, or the end. ``streams``: for a native route."""
        async with self._receiving:
            while self.size <= beyond and not self.ended:
                self.append(await self._receive(), streams=streams)

    def append(self, message: Message, *, streams: bool = False) -> None:
        """Take the next message of ``receive``. ``streams``: for a native route, which may need it kept no longer."""
        if message["type"] != "http.request":
            self.complete = True
            self.end(ClientGone())
            return
        chunk: bytes = message.get("body", b"")
        self.complete = not message.get("more_body", False)
        if self.length is not None and self.size + len(chunk) > self.length:
            chunk = chunk[: self.length - self.size]
        if self._limit is not None and self.size + len(chunk) > self._limit:
            self.end(BodyTooLarge(f"The body is larger than {self._limit} bytes."))
            return
        if chunk:
            if streams and self.size + len(chunk) > KEPT_FOR_LATER and isinstance(self._store, KeptBytes):
                self._store.append(chunk, keep=False)
            else:
                self._store.append(chunk)
            self.size += len(chunk)
        for told in tuple(self.on_arrival):
            told()
        if self.complete:
            short = self.length is not None and self.size < self.length
            self.end(BodyIncomplete() if short else None)
        elif chunk:
            self._wake_threads()

    def _keep_from(self, position: int) -> None:
        kept = KeptBytes(position)
        while chunk := self._store.read(position):
            kept.append(chunk)
        self._store = kept
        if self._room is not None:
            _settle(self._room)

    async def _has_room(self, may_drop: Callable[[], bool]) -> bool:
        while self._is_full:
            try:
                async with asyncio.timeout(self.stall_timeout):
                    # First the future, then a second look: a reader counts what it took before it looks for a future.
                    # So if it took the last bytes before it could see this one, they are counted here.
                    self._room = self._loop.create_future()
                    if self._is_full:
                        await self._room
            except TimeoutError:
                if may_drop():
                    return False
            finally:
                self._room = None
        return True

    @property
    def _is_full(self) -> bool:
        return isinstance(self._store, ChunkQueue) and self.size - self._taken >= WINDOW

    def _wake_threads(self) -> None:
        waiting = self._waiting
        while waiting:
            waiting.popleft().release()

    def _receive_for_thread(self) -> None:
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._receive_chunk())

    async def _receive_chunk(self) -> None:
        try:
            await self._receive_more(self.size)
        except Exception:
            log.exception("a request body could not be received")
            self.end(ClientGone())
        finally:
            # A thread that began to wait while this was under way asked for nothing of its own: it looks again.
            self._wake_threads()

    # Reading, in any thread.

    def read(self, position: int) -> bytes:
        """Some bytes from ``position`` on, waiting for them; empty at the end. Raises the errors of ``body_errors``."""
        while True:
            # First the end, then the bytes: the last chunk may come between the two looks, and is found by the second.
            ended = self.ended
            chunk = self._store.read(position)
            if chunk:
                self._count_taken(position + len(chunk))
                return chunk
            if ended:
                if self.error is not None:
                    raise self.error
                return b""
            self._wait(position)

    def _wait(self, position: int) -> None:
        """Wait until there is more than ``position`` bytes, or the end. Raises ClientStalled or BodyNotReceived."""
        if threading.get_ident() == self._loop_thread:
            raise BodyNotReceived(
                "the request's body has not been received completely, and code on the event loop can't wait for it: "
                "the loop itself has to receive it; read the body in a thread, or await it before"
            )
        lock = threading.Lock()
        lock.acquire()
        # First the lock is put where the loop finds it, then comes a last look: the loop appends before it releases
        # locks. So either the loop sees this lock, or this look sees the bytes.
        self._waiting.append(lock)
        if self.size > position or self.ended:
            return
        on_demand = self._on_demand
        if on_demand is not None:
            self._post(on_demand)
        if not lock.acquire(timeout=-1 if self.stall_timeout is None else self.stall_timeout):
            raise ClientStalled

    def _count_taken(self, position: int) -> None:
        self._taken = position
        room = self._room
        if room is not None and self.size - position <= WINDOW // 2:
            self._post(partial(_settle, room))


def _settle(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)
