"""Asking an ASGI app in memory, and apps to ask."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.request_record import RequestRecord
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

KEY = RouteKey("GET", "/thing")


@dataclass
class Reply:
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    side: Side | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def scope_of(method: str = "GET", path: str = "/thing", headers: dict[str, str] | None = None, **more: Any) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "client": ("203.0.113.9", 1),
        "server": ("test", 80),
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        **more,
    }


async def ask(app: ASGIApp, scope: Scope | None = None, body: bytes = b"", chunks: list[bytes] | None = None) -> Reply:
    """Ask as a server would: the body once, then nothing until the end."""
    scope = scope or scope_of()
    if body and not any(name == b"content-length" for name, _ in scope["headers"]):
        scope["headers"].append((b"content-length", str(len(body)).encode()))
    parts = chunks or [body]
    messages = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]
    reply = Reply()

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert reply.status == 0, "two responses"
            reply.status, reply.headers = message["status"], message["headers"]
            reply.side = RequestRecord.of(scope).side
        elif message["type"] == "http.response.body":
            reply.body += message.get("body", b"")

    with anyio.fail_after(10):
        await app(scope, receive, send)
    return reply


def says(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> ASGIApp:
    """An app that answers with this JSON."""
    return JSONResponse(value, status, headers)


def raises(error: BaseException) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


class Told:
    """An app that answers with what it was told: counts its calls, keeps its scopes and bodies."""

    def __init__(self, value: Any = None, *, before: Callable[[Request], Any] | None = None) -> None:
        self.value = value
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self._before = before

    @property
    def calls(self) -> int:
        return len(self.scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.scopes.append(scope)
        self.bodies.append(await request.body())
        if self._before is not None:
            await self._before(request)
        value = self.value() if callable(self.value) else self.value
        response = value if isinstance(value, Response) else JSONResponse(value)
        await response(scope, receive, send)


class Counted:
    """A Recorder for tests: ``counted["compared matched"]``."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: list[str] = []

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    def native_failed(self, key: RouteKey, reason: str) -> None:
        self.counts[f"native_failed {reason}"] += 1

    def tripped(self, key: RouteKey, reason: str) -> None:
        self.counts["tripped"] += 1
        self.reasons.append(reason)

    def mirrored(self, key: RouteKey, side: Side, seconds: float) -> None:
        assert seconds >= 0
        self.counts[f"mirrored {side}"] += 1

    def compared(self, key: RouteKey, matched: bool) -> None:
        self.counts["matched" if matched else "different"] += 1

    def withdrawn(self, key: RouteKey, number: int, rung: str) -> None:
        assert rung
        self.counts["withdrawn"] += number

    def untold(self, key: RouteKey) -> None:
        self.counts["untold"] += 1

    def failed(self, key: RouteKey, reason: str) -> None:
        self.counts[f"failed {reason}"] += 1

    def skipped(self, key: RouteKey, reason: str, number: int = 1) -> None:
        self.counts[f"skipped {reason}"] += number


def switched(key: RouteKey = KEY, **settings: Any) -> Switches:
    return Switches({key: Switch(**settings)})


async def until(condition: Callable[[], Any], seconds: float = 5) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.002)
