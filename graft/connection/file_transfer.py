"""A file on its way into a connection's socket: the system copies it, and no byte passes through Python. (loop)

A transport has no such way that asyncio and uvloop share. So when the transport has nothing left to write, the
socket is written beside it, by a descriptor of its own: a loop lets nobody watch the one that its transport has.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from graft.errors import GraftError

if TYPE_CHECKING:
    from graft.connection.protocol import Connection

TURN = 8 * 1024 * 1024
LEAST_STEP, MOST_STEP = 512 * 1024, 2 * 1024 * 1024
"""Bytes of all files that are sent in one turn of the loop, some 1 ms of copying, and what one of them has of these."""

SendFile = Callable[[int, int, int], Awaitable[None]]
"""``(descriptor, offset, count)``: a part of an open regular file as the whole body of a response that has begun."""


class FileTooShort(GraftError):
    """The file has ended before its part did: somebody has cut it meanwhile."""


def file_sender(send: Any) -> SendFile | None:
    """The way for files of who ``send`` belongs to; None where every message has to pass what stands in between.

    Only what hands each message on has a ``send_file``; what a middleware puts in the place of ``send`` has none.
    """
    found: SendFile | None = getattr(getattr(send, "__self__", None), "send_file", None)
    return found


def open_file(path: str, small: int) -> tuple[int, bytes | None]:
    """A descriptor of the file, and all of its content where that is ``small`` bytes or less. (a thread: disks wait)

    Raises OSError for what is no regular file. Without O_NONBLOCK the opening of a pipe would wait for who writes into
    it, and the thread with it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        return descriptor, os.pread(descriptor, status.st_size, 0) if status.st_size <= small else None
    except BaseException:
        os.close(descriptor)
        raise


def can_send_files(transport: asyncio.Transport) -> bool:
    """Whether there is a socket that may be written beside ``transport``: none is encrypted, or made up by a test."""
    return (
        hasattr(os, "sendfile")
        and transport.get_extra_info("socket") is not None
        and transport.get_extra_info("sslcontext") is None
    )


class FileTransfer:
    """``count`` bytes of a file from ``offset``, behind ``head``.

    ``late`` is called when the client has read nothing for ``patience`` seconds.
    """

    def __init__(self, connection: Connection, patience: float, late: Callable[[], None]) -> None:
        self._connection = connection
        self._loop = connection.loop
        self._patience = patience
        self._late = late
        self._aborted = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._moved = 0.0  # when the client last took something, by the loop's clock

    def abort(self) -> None:
        """The client is gone."""
        self._aborted = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def run(self, head: bytes, descriptor: int, offset: int, count: int) -> bool:
        """Return when all is sent: True; or when it can't be any more. Raises FileTooShort."""
        await self._transport_is_empty()
        if self._aborted:
            return False
        socket = os.dup(self._connection.transport.get_extra_info("socket").fileno())
        global _running
        _running += 1

        def send_head() -> bool:
            nonlocal head
            head = head[os.write(socket, head) :]
            return not head

        def next_step() -> int:
            return min(count, max(LEAST_STEP, min(MOST_STEP, TURN // _running)))

        def next_in_memory() -> bool:
            return _is_in_memory(descriptor, offset + next_step() - 1)

        def send_step() -> bool:
            nonlocal offset, count
            sent = os.sendfile(socket, descriptor, offset, next_step())
            if not sent:
                raise FileTooShort(f"{count} bytes are missing: the file was cut while it was sent")
            offset += sent
            count -= sent
            return not count or not next_in_memory()

        try:
            if head:
                await self._while_writable(socket, send_head)
            while count and not self._aborted:
                if not next_in_memory():
                    with suppress(RuntimeError):  # no thread is left: it is read where it is sent
                        await self._loop.run_in_executor(None, os.pread, descriptor, next_step(), offset)
                await self._while_writable(socket, send_step)
            return not self._aborted
        finally:
            _running -= 1
            os.close(socket)

    async def _while_writable(self, socket: int, step: Callable[[], bool]) -> None:
        """Call ``step`` whenever the socket takes something, until it returns True or the client is gone.

        Once the socket is full the loop calls it, a step a turn, without this coroutine: a long file is hundreds of
        steps. Raises what ``step`` raises.
        """
        if self._aborted or self._try(step):
            return
        waiter = self._waiter = self._loop.create_future()

        def go_on() -> None:
            if waiter.done():  # in the same turn, before it was heard
                return
            try:
                if self._try(step):
                    waiter.set_result(None)
            except Exception as error:
                waiter.set_exception(error)

        self._moved = self._loop.time()
        self._loop.add_writer(socket, go_on)
        self._timer = self._loop.call_later(self._patience, self._look)
        try:
            await waiter
        finally:
            self._timer.cancel()
            self._loop.remove_writer(socket)

    def _try(self, step: Callable[[], bool]) -> bool:
        """Whether there is nothing more to do."""
        try:
            ended = step()
        except BlockingIOError:
            return False
        except OSError:  # the transport is about to hear of it
            self._aborted = True
            return True
        self._moved = self._loop.time()
        return ended

    def _look(self) -> None:
        """Whether the client still reads."""
        left = self._moved + self._patience - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._late()

    async def _transport_is_empty(self) -> None:
        transport = self._connection.transport
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)  # it tells when the last byte is written, and not some before
            try:
                await self._connection.unread.drain()
            finally:
                transport.set_write_buffer_limits()


_running = 0  # transfers of this process, all on its loop


def _is_in_memory(descriptor: int, at: int) -> bool:
    """Whether the byte is in the system's cache: reading it holds nobody up. True where the system can't tell."""
    try:
        os.preadv(descriptor, [bytearray(1)], at, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        pass
    return True
