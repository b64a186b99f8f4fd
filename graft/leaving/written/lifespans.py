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
    answers: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    task = asyncio.ensure_future(app(scope, to_app.get, answers.put))

    async def ask(kind: str) -> None:
        to_app.put_nowait({"type": kind})
        answer = asyncio.ensure_future(answers.get())
        await asyncio.wait((task, answer), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
        elif (told := answer.result())["type"].endswith(".failed"):
            raise RuntimeError(f"the lifespan of {type(app).__name__} failed: {told.get('message', '')}")

    await ask("lifespan.startup")
    try:
        yield state
    finally:
        if not task.done():
            await ask("lifespan.shutdown")
            await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
