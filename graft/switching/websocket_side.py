"""The native side of a switched WebSocket, with the legacy side behind it.

Until the handshake is accepted it may fail as any answer may: it raises, is too late or says 5xx, and the legacy side
gets the handshake. What fails afterwards is counted, and the client connects again. There is no mirror: a conversation
can't be had twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

from starlette.websockets import WebSocketDisconnect

from graft.request_record import RequestRecord
from graft.switching.native_side import NativeSide
from graft.types import Message, Receive, Scope, Send, Side

logger = logging.getLogger(__name__)


class WebSocketSide(NativeSide):
    """As the switchboard calls it. ``deadline`` is for the handshake."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return _Run(self, scope, receive, send)()


class _Lost(Exception):
    """Ends a native run whose answer is not wanted any more. Never leaves this module."""


class _Run:
    """One WebSocket on the native side."""

    def __init__(self, side: WebSocketSide, scope: Scope, receive: Receive, send: Send) -> None:
        self._side = side
        self._scope = scope
        self._receive = receive
        self._send = send
        self._answered = False
        self._lost = False
        self._connect: Message | None = None  # what the native side has received so far
        self._timer = asyncio.timeout(side.read_deadline)

    async def __call__(self) -> None:
        now = time.monotonic()
        error: Exception | None = None
        try:
            async with self._timer:
                await self._side.app(self._scope, self._read, self._answer)
        except WebSocketDisconnect:
            raise  # the client has left, and nobody has failed
        except Exception as raised:
            error = raised
        failure = self._failure(error)
        if failure is None:
            self._side.window.succeeded(now)
            return
        self._side.on_failure(failure, self._side.window.failed(now))
        if self._answered:
            assert error is not None
            raise error
        logger.error("%s failed natively (%s), so the legacy side answers", self._side.key, failure, exc_info=error)
        RequestRecord.of(self._scope).side = Side.FALLBACK
        await self._side.legacy(self._scope, self._read_again, self._send)

    def _failure(self, error: Exception | None) -> str | None:
        if self._answered:
            return None if error is None else "broken off"
        if self._lost:
            return "status"
        return "deadline" if self._timer.expired() else "exception"  # or it returned, and had said nothing

    async def _read(self) -> Message:
        message = await self._receive()
        if self._connect is None:
            self._connect = message
        return message

    async def _read_again(self) -> Message:
        """``receive`` for the legacy side: the handshake once more."""
        if self._connect is not None:
            message, self._connect = self._connect, None
            return message
        return await self._receive()

    async def _answer(self, message: Message) -> None:
        if self._lost:
            raise _Lost
        if not self._answered:
            if message["type"] == "websocket.http.response.start" and message["status"] >= 500:
                self._lost = True
                raise _Lost
            self._answered = True
            self._timer.reschedule(None)  # from now on it may last as long as it likes
        await self._send(message)
