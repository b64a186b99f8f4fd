"""The lifespan of an ASGI app, as a server runs it: startup, its state, shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from graft.errors import NativeRoutesError
from graft.types import ASGIApp, Message

log = logging.getLogger("graft")


@asynccontextmanager
async def running(app: ASGIApp, name: str) -> AsyncIterator[dict[str, Any]]:
    """Run ``app``'s lifespan around the block and give the state that it has for its requests.

    An app that knows no lifespan runs without one, as under Uvicorn. Raises NativeRoutesError, which names ``name``,
    when its start fails. What its shutdown raises is logged: the others have theirs to come.
    """
    lifespan = _Lifespan(app, name)
    await lifespan.start()
    try:
        yield lifespan.state
    finally:
        await lifespan.stop()


class _Lifespan:
    """In a task of its own, as servers have it: what the app opens there at its start is closed there."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._name = name
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.ensure_future(self._app(scope, self._to_app.get, self._send))
        answer = await self._ask("lifespan.startup")
        if answer is not None and answer["type"].endswith(".failed"):
            await self._ended()
            raise NativeRoutesError(
                self._name,
                f"its lifespan fails at the start: {_last_line(answer)}",
                "No worker starts before it is mended.",
            )

    async def stop(self) -> None:
        assert self._task is not None
        if self._task.done():
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None and answer["type"].endswith(".failed"):
            log.error("%s: its lifespan failed at the end: %s", self._name, _last_line(answer))
        await self._ended()

    async def _ended(self) -> None:
        """What the app raises after it has said that it failed is the same once more."""
        assert self._task is not None
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()

    async def _ask(self, message: str) -> Message | None:
        """What the app answers to ``message``; None when it ended without, as one that knows no lifespan does."""
        assert self._task is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._to_app.put_nowait({"type": message})
        await asyncio.wait((self._task, self._answer), return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            return self._answer.result()
        if (error := self._task.exception()) is not None:
            log.debug("%s: it runs without a lifespan: %r", self._name, error)
        return None

    async def _send(self, message: Message) -> None:
        if not self._answer.done():
            self._answer.set_result(message)


def _last_line(answer: Message) -> str:
    lines: list[str] = answer.get("message", "").strip().splitlines()
    return lines[-1] if lines else "no reason was given"
