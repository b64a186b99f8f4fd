"""Is it alive (``/_graft/health``), and has it all its parts (``/_graft/ready``)? Both are open and cost little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from graft.operations.state import Follower
from graft.search.client import probe

Check = Callable[[Request], Awaitable[str | None]]
"""None when the part is fine, else the reason in one line."""

REMEMBERED_S = 1.0


async def health(request: Request) -> Response:
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


class Readiness:
    """The endpoint of ``/_graft/ready``. It remembers its answer: an open endpoint must not hammer a part."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._lock = asyncio.Lock()
        self._answer: tuple[float, dict[str, str]] | None = None

    async def __call__(self, request: Request) -> Response:
        parts = await self.parts(request)
        ready = all(state == "ok" for state in parts.values())
        body = {"status": "ready" if ready else "not ready", "parts": parts}
        return JSONResponse(body, 200 if ready else 503, headers=_NO_STORE)

    async def parts(self, request: Request) -> dict[str, str]:
        """``{"search": "ok" or the reason, ...}``."""
        async with self._lock:
            if self._answer is None or time.monotonic() - self._answer[0] > REMEMBERED_S:
                reasons = await asyncio.gather(*(check(request) for check in self._checks.values()))
                parts = {name: reason or "ok" for name, reason in zip(self._checks, reasons, strict=True)}
                self._answer = (time.monotonic(), parts)
            return self._answer[1]


def checks(follower: Follower) -> dict[str, Check]:
    """The parts of a gateway: the legacy app (it is there, or the gateway would not run), search, and the switches."""

    async def legacy(request: Request) -> str | None:
        return None

    async def search(request: Request) -> str | None:
        return await probe(request.state.elasticsearch)

    async def switches(request: Request) -> str | None:
        return str(follower.problem) if follower.problem is not None else None

    return {"legacy": legacy, "search": search, "switches": switches}


_NO_STORE = {"cache-control": "no-store"}
