"""What the body of a streamed native response asks of the Flask app, behind the app's hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from graft.flaskside.request_context import NativeRequestContext
from graft.threads.executor import LegacyExecutor
from graft.threads.pool import PoolFull


class StreamVisit:
    """From the head of a streamed response to its last part: one context, in one thread, torn down once. (loop)

    A visit ends before its stream begins, as Flask ends a request before it goes through a generator: a thousand idle
    streams hold no thread, and no connection that a before_request function has taken. Only a stream whose body calls
    ``legacy.run`` has a visit: the one that the route kept (``legacy.stream_with_context``), which is ``kept``, or one
    that ``begin`` makes with the first call, with the before_request functions once more.
    """

    def __init__(self, threads: LegacyExecutor, begin: Callable[[], Awaitable[NativeRequestContext]]) -> None:
        self._threads = threads
        self._begin = begin
        self._context: NativeRequestContext | None = None
        self._counted = False
        self._beginning = asyncio.Lock()

    def keep(self, context: NativeRequestContext) -> bool:
        """Whether ``context`` may be the stream's: with as many as may be, it ends as any other."""
        if self._count():
            self._context = context
        return self._counted

    async def context(self) -> NativeRequestContext:
        """Raises PoolFull where as many streams as may be have a context, and what ``begin`` does."""
        if self._context is None or not self._context.open:
            async with self._beginning:  # of two calls side by side the second finds the context of the first
                if self._context is None or not self._context.open:
                    if not self._count():
                        raise PoolFull(f"legacy.run is called in more than {self._threads.streams} streams at once")
                    self._context = await self._begin()
        return self._context

    def _count(self) -> bool:
        self._counted = self._counted or self._threads.admit_stream()
        return self._counted

    async def end(self, error: BaseException | None = None) -> None:
        """Tear it down, if there is anything. Once."""
        if self._counted:
            self._counted = False
            self._threads.count_stream_out()
        context, self._context = self._context, None
        if context is not None:
            await context.end(error)
