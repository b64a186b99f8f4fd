"""Between a client and Uvicorn's WebSocket protocol: frames pass once it is open, and while the client reads. (loop)

Uvicorn's protocols on ``websockets`` and ``wsproto`` take frames whenever they come (websockets_sansio_impl.py, seen in
0.40 to 0.54), and leave three things to whoever wants to do harm:

- A frame before the app has accepted. To a ping the pong is written in front of the response to the handshake; after
  one that is none the library takes the connection to be over, ``accept`` raises AssertionError in the app's hands, and
  so does the 500 in place of it, in front of the line that closes the transport: a descriptor for good a packet.
- Pings of a client that reads no pongs. Each is answered, however much waits: 100 MB for each million of them.
- A client that reads nothing when it is to be closed: the transport waits for its buffer to be empty, for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from graft.connection.unread import Unread

MOST = 64 * 1024
"""Bytes that are kept; more are left to the system's buffers."""


class FrameGate(asyncio.Protocol):
    """Has ``protocol`` speak over ``transport``. What the client has sent (``rest``) and sends waits for ``open``."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, rest: bytes) -> None:
        self._protocol = protocol
        self._transport = transport
        self._unread = Unread(transport, asyncio.get_running_loop(), transport.abort)
        self._kept = bytearray(rest)
        self._is_open = self._passes = False
        protocol.connection_made(_Watched(transport, self._unread.watch))

    def open(self) -> None:
        """The response to the handshake is written."""
        self._is_open = True
        self._pass_on()

    def _pass_on(self) -> None:
        self._passes = self._is_open and not self._unread.paused
        if self._passes and not self._transport.is_closing():
            kept, self._kept = bytes(self._kept), bytearray()
            self._transport.resume_reading()  # in front of what may pause it
            if kept:
                self._protocol.data_received(kept)

    def data_received(self, data: bytes) -> None:
        if self._passes:
            self._protocol.data_received(data)
            return
        self._kept += data
        if len(self._kept) > MOST:  # each time: the protocol may resume it for a message that it had before
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._passes = False
        self._unread.pause()
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._unread.resume(watch_on=self._transport.is_closing())
        self._protocol.resume_writing()
        self._pass_on()

    def eof_received(self) -> bool | None:
        keeps_open: bool | None = self._protocol.eof_received()
        return keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        self._unread.end()


class _Watched:
    """A transport that calls ``closed`` when it is to be closed: what the client has not read is still there."""

    def __init__(self, transport: asyncio.Transport, closed: Callable[[], None]) -> None:
        self._transport = transport
        self._closed = closed
        self.write = transport.write

    def close(self) -> None:
        self._transport.close()
        self._closed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
