"""A timeout for the work of a view: the time that its client takes for an upload is not the view's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

SLOWEST_UPLOAD = 16 * 1024
"""Bytes a second. Of a client that is slower the time counts: it would else hold a thread for as long as it likes."""


class Upload(Protocol):
    """A request's body that is being received. ``size``: bytes so far. ``on_arrival`` is called after each part."""

    size: int
    on_arrival: set[Callable[[], None]]


class WorkTimeout:
    """``asyncio.timeout(seconds)`` that begins anew with each part of ``upload`` that arrives. (loop)

    Never later than by one second for each SLOWEST_UPLOAD bytes. Where the view stands still and reads nothing, nothing
    is received either once the window is full, and the time runs out as ever.
    """

    def __init__(self, seconds: float | None, upload: Upload | None = None) -> None:
        self._seconds = seconds
        self._upload = upload if seconds is not None else None
        self._timeout = asyncio.timeout(seconds)

    def expired(self) -> bool:
        return self._timeout.expired()

    async def __aenter__(self) -> WorkTimeout:
        await self._timeout.__aenter__()
        if self._upload is not None:
            self._began, self._size = asyncio.get_running_loop().time(), self._upload.size
            self._upload.on_arrival.add(self._begin_anew)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._upload is not None:
            self._upload.on_arrival.discard(self._begin_anew)
        await self._timeout.__aexit__(kind, error, traceback)

    def _begin_anew(self) -> None:
        assert self._upload is not None
        assert self._seconds is not None
        if not self._timeout.expired():
            allowed = self._began + (self._upload.size - self._size) / SLOWEST_UPLOAD
            now = asyncio.get_running_loop().time()
            self._timeout.reschedule(min(now, allowed) + self._seconds)
