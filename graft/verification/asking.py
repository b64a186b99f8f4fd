"""One request to an ASGI app in this process, without a server. (event loop)"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from graft import tasks
from graft.mirroring import fence
from graft.mirroring.answers import Answer, KeptAnswer, receive_of
from graft.mirroring.failures import Failure, failure_of
from graft.mirroring.fence import Kind, Tried
from graft.mirroring.fences import watch
from graft.request_record import KEY, RequestRecord
from graft.types import MIRRORED, ASGIApp, Message, Scope, Side

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer that are compared."""

DEADLINE = 30.0
"""Seconds that one answer may take."""

SOON = 0.1
"""Seconds in which a fenced run may end by itself, when it has answered."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """``target`` is the path with its query, as a request line has it. ``headers`` have no ``host``."""

    method: str
    target: str
    host: str = "localhost"
    headers: Headers = ()
    body: bytes = b""

    def scope(self) -> dict[str, Any]:
        path, _, query = self.target.partition("?")
        headers = [(b"host", self.host.encode("latin-1"))]
        headers += [(name.lower().encode("latin-1"), value.encode("utf-8")) for name, value in self.headers]
        if self.body:
            headers.append((b"content-length", str(len(self.body)).encode()))
        name, _, port = self.host.partition(":")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path.encode("latin-1", "replace"),
            "query_string": query.encode("latin-1", "replace"),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": (name, int(port) if port.isdigit() else 80),
            "state": {},
        }


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is none that can be compared."""

    why: str
    failure: Failure | None = None


async def ask(
    app: ASGIApp, request: Request, side: Side, *, state: dict[str, Any], fenced: bool, allow: Collection[Kind] = ()
) -> Answer | NoAnswer:
    """What ``app`` says. ``fenced``: it may look and not touch, as a mirrored run; what it leaves running when it has
    answered is ended then, and an exception that the app tells by a page of its own is known. NoAnswer where it tried
    to write all the same."""
    tried = Tried(side, allow)
    scope = request.scope() | {"state": dict(state)}
    if fenced:
        watch()
        scope[KEY] = RequestRecord.mirrored(side)
        scope[MIRRORED] = True
    kept, answered = KeptAnswer(LARGEST), asyncio.Event()
    started = time.perf_counter()

    async def send(message: Message) -> None:
        kept.keep(message)
        if kept.complete or kept.unkept:
            answered.set()

    run = asyncio.create_task(_run(app, scope, receive_of(request.body), send, tried if fenced else None))
    waiting = asyncio.create_task(answered.wait())
    try:
        await asyncio.wait({run, waiting}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        note = tried.note
        # What a route does behind its answer may be read by the next one; where it must not be done, it is soon ended.
        await asyncio.wait({run}, timeout=SOON if fenced else DEADLINE)
    finally:
        waiting.cancel()
        if not run.done():
            run.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await run
        tried.end()
    if note is not None:
        return NoAnswer(note)
    if kept.unkept:
        return NoAnswer("a stream" if kept.unkept == "stream" else f"an answer of more than {LARGEST} bytes")
    if kept.complete:
        failure = failure_of(tried.raised, DEADLINE) if tried.raised is not None else None
        return kept.answer(side, started, failure)
    error = run.exception() if run.done() and not run.cancelled() else TimeoutError()
    failure = failure_of(error, DEADLINE)
    return NoAnswer(f"the {side} side gave no answer: {failure.line}", failure)


async def _run(app: ASGIApp, scope: Scope, receive: Any, send: Any, tried: Tried | None) -> None:
    """In a task, and so in a context, of its own."""
    if tried is not None:
        fence.current.set(tried)
        tasks.refusal.set(tried.refuse if tried.refuses(Kind.TASKS) else None)
    await app(scope, receive, send)
