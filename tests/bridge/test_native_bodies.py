from __future__ import annotations

import json
from typing import Any

import pytest

from graft.bridge.limits import Limits
from graft.bridge.native_bodies import NativeBodies
from graft.request_record import RequestRecord
from graft.types import Receive, Scope, Send
from tests.bridge.wire import Conversation, request

LIMITS = Limits(timeout=None, max_body=10, stall_timeout=5, window=1)


class Native:
    """A native route that notes whether it has a body, and what comes."""

    def __init__(self) -> None:
        self.had_body: list[bool] = []
        self.receive: Receive | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.had_body.append(RequestRecord.of(scope).body is not None)
        self.receive = receive
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("method", "version", "headers", "has_body"),
    [
        ("GET", "1.1", [], False),
        ("DELETE", "1.0", [("Host", "x")], False),
        ("POST", "1.1", [("Content-Length", "0")], False),
        ("GET", "1.1", [("Content-Length", "3")], True),
        ("POST", "1.1", [("Transfer-Encoding", "chunked")], True),
        ("POST", "1.1", [], True),
        ("GET", "2", [], True),
    ],
)
async def test_only_a_request_that_may_have_a_body_gets_one(
    method: str, version: str, headers: list[Any], has_body: bool
) -> None:
    native = Native()
    got = Conversation(request(b"abc"), method=method, http_version=version, headers=headers)
    await got.ask(NativeBodies(native, LIMITS))
    assert native.had_body == [has_body]
    assert (native.receive == got.receive) is not has_body
    assert RequestRecord.of(got.scope).body is None


async def test_a_declared_length_above_the_limit_never_reaches_the_route() -> None:
    native = Native()
    got = await Conversation(method="POST", headers=[("Content-Length", "11")]).ask(NativeBodies(native, LIMITS))
    assert (got.status, json.loads(got.body)["error"]["code"]) == (413, "body_too_large")
    assert (native.had_body, got.received) == ([], 0)


async def test_a_length_that_is_no_number_is_a_bad_request() -> None:
    got = await Conversation(method="POST", headers=[("Content-Length", "x")]).ask(NativeBodies(Native(), LIMITS))
    assert got.status == 400


async def test_what_is_no_request_passes_by() -> None:
    native = Native()
    await Conversation(type="websocket").ask(NativeBodies(native, LIMITS))
    assert native.had_body == [False]
