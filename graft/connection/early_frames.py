"""What a client sends before its WebSocket is open. It waits here, in front of Uvicorn's protocol. (loop)

A client may not send yet, and who does so wants something: Uvicorn's protocols on ``websockets`` and ``wsproto`` read
frames as they come (websockets_sansio_impl.py, seen in 0.40 to 0.54). To a ping they write the pong in front of the
response to the handshake; after a frame that is none the library takes the connection to be over, the app's ``accept``
raises AssertionError in its hands, and so does the 500 in place of it, in front of the line that closes the transport:
each such packet cost a descriptor for good, and two tracebacks.
"""

from __future__ import annotations

import asyncio

MOST = 64 * 1024
"""Bytes that are kept; more are left to the system's buffers."""


class EarlyFrames(asyncio.Protocol):
    """Stands for ``protocol`` until the app has accepted. All but the bytes goes through."""

    def __init__(self, protocol: asyncio.Protocol, transport: asyncio.Transport, rest: bytes) -> None:
        self._protocol = protocol
        self._transport = transport
        self._kept = bytearray(rest)

    def data_received(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > MOST:
            self._transport.pause_reading()

    def deliver(self) -> None:
        """The response to the handshake is written: from here on all is the protocol's. Once."""
        if self._transport.is_closing():
            return
        self._transport.set_protocol(self._protocol)
        self._transport.resume_reading()  # in front of the delivery, in which the protocol may pause it
        if self._kept:
            self._protocol.data_received(bytes(self._kept))

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
