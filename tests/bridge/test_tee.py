from __future__ import annotations

import asyncio
from typing import Any

import pytest
from werkzeug.exceptions import ClientDisconnected

from graft.bridge import tee
from graft.bridge.tee import Tee
from graft.types import Message, Receive


def sent(*messages: Message) -> Receive:
    """A server that sends these, and then waits for ever."""
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


async def all_of(body: Tee) -> tuple[bytes, str]:
    """What the native route gets, and how it ends."""
    got = b""
    while True:
        message = await asyncio.wait_for(body.receive(), 5)
        if message["type"] == "http.disconnect":
            return got, "gone"
        got += message.get("body", b"")
        if not message.get("more_body", False):
            return got, "whole"


@pytest.mark.parametrize("size", [1, tee.AHEAD, tee.IN_MEMORY * 2])
async def test_both_readers_get_the_whole_body_in_memory_or_on_disk(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    cut = len(content) // 2
    body = Tee(sent(part(content[:cut]), part(content[cut:], False)))
    assert await asyncio.to_thread(body.input.read) == content
    assert await all_of(body) == (content, "whole")
    body.close()


async def test_what_a_hook_read_of_the_beginning_comes_first_then_the_rest() -> None:
    body = Tee(sent(part(b"one "), part(b"two "), part(b"three", False)))
    assert await asyncio.to_thread(body.input.read, 3) == b"one"
    assert await all_of(body) == (b"one two three", "whole")
    assert await asyncio.to_thread(body.input.read) != b"three", "the native route has streamed it"
    body.close()


async def test_a_client_that_leaves_is_an_error_for_the_hook_and_a_disconnect_for_the_route() -> None:
    body = Tee(sent(part(b"half"), GONE))

    def read() -> Any:
        with pytest.raises(ClientDisconnected):
            body.input.read()
        return True

    assert await asyncio.to_thread(read)
    assert await all_of(body) == (b"half", "gone")
    assert await all_of(body) == (b"", "gone")
    body.close()


async def test_reading_ahead_stops_at_its_limit_and_keeps_an_empty_body_whole() -> None:
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return part(b"x" * 10_000)

    body = Tee(receive)
    await body.read_ahead()
    assert asked == 7
    body.close()
    empty = Tee(sent(part(b"", False)))
    await empty.read_ahead()
    assert await all_of(empty) == (b"", "whole")
    empty.close()
