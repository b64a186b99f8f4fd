"""One request body for two readers: the Flask app's hooks in a thread first, the native route on the loop after them.

What a hook reads is kept, in memory up to a megabyte and on disk above it, and read once more by the native route.
What no hook reads is never kept: an upload streams into the native route as if there were no hooks.
"""

from __future__ import annotations

import asyncio
import io
from tempfile import SpooledTemporaryFile

from werkzeug.exceptions import ClientDisconnected

from graft.types import Message, Receive

IN_MEMORY = 1024 * 1024
AHEAD = 64 * 1024
"""So much is read on the loop before the first hook runs, so that a thread seldom waits for a client."""
BLOCK = 64 * 1024


class Tee:
    """``input`` is for the hooks (``wsgi.input``), ``receive`` for the native route."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._kept: SpooledTemporaryFile[bytes] | None = None
        self._size = 0
        self._given = 0
        self._ended = False
        self._end_given = False
        self._gone: Message | None = None
        self.input = io.BufferedReader(_Input(self), BLOCK)

    async def read_ahead(self) -> None:
        while not self._ended and self._size < AHEAD:
            await self._pull()

    async def receive(self) -> Message:
        if self._given < self._size:
            return self._replay()
        if self._gone is not None:
            return self._gone
        if self._ended and not self._end_given:
            self._end_given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await self._receive()
        self._note_end(message)
        self._end_given = self._ended
        return message

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def chunk(self, position: int) -> bytes:
        """The next part of the body for a hook; empty at its end. In a thread; raises ClientDisconnected."""
        if position >= self._size and not self._ended:
            asyncio.run_coroutine_threadsafe(self._pull_one(), self._loop).result()
        if position < self._size and self._kept is not None:
            self._kept.seek(position)
            return self._kept.read(BLOCK)
        if self._gone is not None:
            raise ClientDisconnected()
        return b""

    async def _pull_one(self) -> None:
        before = self._size
        while not self._ended and self._size == before:
            await self._pull()

    async def _pull(self) -> None:
        message = await self._receive()
        self._note_end(message)
        if body := message.get("body", b""):
            if self._kept is None:
                self._kept = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by close()
            self._kept.seek(0, io.SEEK_END)
            self._kept.write(body)
            self._size += len(body)

    def _note_end(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._gone = message
        self._ended = self._ended or message["type"] == "http.disconnect" or not message.get("more_body", False)

    def _replay(self) -> Message:
        assert self._kept is not None
        self._kept.seek(self._given)
        body = self._kept.read(BLOCK)
        self._given += len(body)
        self._end_given = self._ended and self._gone is None and self._given >= self._size
        return {"type": "http.request", "body": body, "more_body": not self._end_given}


class _Input(io.RawIOBase):
    def __init__(self, tee: Tee) -> None:
        self._tee = tee
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        chunk = self._tee.chunk(self._position)[: len(target)]
        target[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)
