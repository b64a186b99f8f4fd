"""The lifespans of apps below the site's own: Starlette runs only that of the outermost app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Run ``app``'s lifespan around the block and give the state that it has for its requests. An app that knows no
    lifespan runs without. Raises RuntimeError when its start fails."""
    state: dict[str, Any] = {}
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        if not answered.done():
            answered.set_result(message)

    async def ask(kind: str) -> None:
        nonlocal answered
        answered = asyncio.get_running_loop().create_future()
        to_app.put_nowait({"type": kind})
        await asyncio.wait((task, answered), return_when=asyncio.FIRST_COMPLETED)
        if answered.done() and answered.result()["type"].endswith(".failed"):
            await _ended(task)
            raise RuntimeError(f"the lifespan of {type(app).__name__} failed: {answered.result().get('message', '')}")

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    task = asyncio.ensure_future(app(scope, to_app.get, send))
    await ask("lifespan.startup")
    try:
        yield state
    finally:
        if not task.done():
            await ask("lifespan.shutdown")
        await _ended(task)


async def _ended(task: asyncio.Future[None]) -> None:
    """What the app raises has been told by then."""
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
