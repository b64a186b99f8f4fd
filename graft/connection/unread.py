"""What was written and the client has not read yet: who waits for that, and for how long. (loop)"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from graft.connection import limits
from graft.connection.deadlines import Deadline


class Unread:
    """Of one connection. ``late`` is called when a client has read nothing for WRITE_PATIENCE seconds.

    ``paused``: so much waits that no more is to be written.
    """

    paused = False
    _size = 0  # when its deadline was set
    _deadline: Deadline | None = None  # runs only while a client leaves something unread
    _changed: asyncio.Event | None = None

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, late: Callable[[], object]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._late = late

    def pause(self) -> None:
        self.paused = True
        self.watch()

    def resume(self, watch_on: bool) -> None:
        self.paused = False
        if self._deadline is not None and not watch_on:
            self._deadline.clear()
        if self._changed is not None:
            self._changed.set()

    def end(self) -> None:
        """The connection is over. (It refers to this, and ``late`` to it.)"""
        self._late = _nothing
        self.paused = False
        if self._deadline is not None:
            self._deadline.end()
        if self._changed is not None:
            self._changed.set()

    def watch(self) -> None:
        """See to it that the client reads what waits for it, if anything does."""
        self._size = self._transport.get_write_buffer_size()
        if self._size:
            if self._deadline is None:
                self._deadline = Deadline(self._loop)
            self._deadline.set(limits.WRITE_PATIENCE, self._look)

    async def drain(self) -> None:
        """Return when the client has read enough for more to be written, or is gone."""
        while self.paused:
            if self._changed is None:
                self._changed = asyncio.Event()
            self._changed.clear()
            await self._changed.wait()

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._size:
            self.watch()
        else:
            self._late()


def _nothing() -> None:
    pass
