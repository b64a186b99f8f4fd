"""What a mirrored request costs beside the two sides' own work: ``python -m benchmarks.mirrored``.

Both sides say the same 2 KB of JSON, to the byte, without any work of their own. In turn with them, the same two sides
are called without a mirror, and the difference is told: CPU time of the process, on one loop. The least of many short
rounds is what noise moves least; the median is beside it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable

from graft.error_handlers import ErrorHandlers
from graft.figures.recorder import Recorder
from graft.mirroring.mirror import Mirror
from graft.mirroring.original import Original, Sides
from graft.operations.switch import Switch
from graft.request_record import KEY, RequestRecord
from graft.types import Message, Receive, RouteKey, Scope, Send, Side

ROUNDS = 300
REQUESTS = 40
"""A round; a route's users ask for 500 paths."""

LARGEST = 256 * 1024
GOAL = 30.0

BODY = json.dumps({"items": [{"id": number, "title": "x" * 20} for number in range(40)]}).encode()
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    (b"cache-control", b"no-store"),
]
ASKED = {
    b"host": b"example.org",
    b"user-agent": b"y" * 80,
    b"accept": b"*/*",
    b"cookie": b"session=abc",
    b"accept-encoding": b"gzip",
    b"connection": b"keep-alive",
}


async def side(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    """To nobody."""


def scope_of(number: int) -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "path": f"/articles/{number % 500}",
        "raw_path": b"/articles",
        "query_string": b"",
        "http_version": "1.1",
        "headers": list(ASKED.items()),
        "state": {},
        "app": None,
        "client": ("127.0.0.1", 2),
        "server": ("127.0.0.1", 1),
        KEY: RequestRecord.mirrored(Side.LEGACY),
    }


async def microseconds(ask: Callable[[int], Awaitable[None]], rest: Callable[[], bool]) -> float:
    """Of CPU time a request, until there is no ``rest`` of what was asked."""
    began = time.process_time()
    for number in range(REQUESTS):
        await ask(number)
        await asyncio.sleep(0)
    while rest():
        await asyncio.sleep(0)
    return (time.process_time() - began) / REQUESTS * 1e6


async def measured() -> tuple[list[float], list[float]]:
    """With a mirror, and both sides alone."""
    sides = Sides(RouteKey("GET", "/articles/{id:int}"), side, side, ErrorHandlers())
    switch = Switch(mirror=100)
    with_mirror: list[float] = []
    alone: list[float] = []
    async with Mirror(recorder=Recorder()) as mirror:

        async def mirrored(number: int) -> None:
            original = Original(sides, switch, scope_of(number), receive, send, LARGEST)
            await side(original.scope, original.receive, original.send)
            mirror.take(original, Side.LEGACY)

        async def both(number: int) -> None:
            scope = scope_of(number)
            await side(scope, receive, send)
            await side(scope, receive, send)

        for _ in range(ROUNDS):
            with_mirror.append(await microseconds(mirrored, lambda: mirror.is_busy))
            alone.append(await microseconds(both, lambda: False))
    return with_mirror, alone


def main() -> None:
    with_mirror, alone = asyncio.run(measured())
    least = min(with_mirror) - min(alone)
    median = statistics.median(with_mirror) - statistics.median(alone)
    print(f"a mirrored request costs {least:.1f} us of CPU time beside both sides' own work (median {median:.1f})")
    print(f"wanted are less than {GOAL:.0f}: {'reached' if least < GOAL else 'MISS'}")


if __name__ == "__main__":
    main()
