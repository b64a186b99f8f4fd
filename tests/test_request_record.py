from __future__ import annotations

from typing import Any

import httpx2 as httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from graft.request_record import KEY, RequestRecord, is_mirrored
from graft.routing.frontdoor import FrontDoor
from graft.types import Side


def test_a_request_has_one_record_and_shallow_copies_of_the_scope_share_it() -> None:
    scope: dict[str, Any] = {"type": "http"}
    record = RequestRecord.of(scope)
    assert RequestRecord.of({**scope, "root_path": "/mounted"}) is record
    assert record.side is Side.NATIVE


def test_a_mirrored_run_has_a_record_of_its_own() -> None:
    users: dict[str, Any] = {}
    RequestRecord.of(users).user = "ada"
    mirrors = {**users, KEY: RequestRecord.mirrored(Side.LEGACY)}
    record = RequestRecord.of(mirrors)
    assert (record.side, record.user) == (Side.LEGACY, None)
    assert is_mirrored(mirrors)
    assert not is_mirrored(users)


def test_to_ask_whether_a_request_is_mirrored_makes_no_record() -> None:
    scope: dict[str, Any] = {}
    assert not is_mirrored(scope)
    assert scope == {}


async def test_what_a_mounted_app_says_is_seen_at_the_front_door_and_a_gateway_in_a_gateway_keeps_its_own() -> None:
    records: list[RequestRecord] = []

    async def answer(request: Any) -> PlainTextResponse:
        record = RequestRecord.of(request.scope)
        record.side = Side.FALLBACK
        records.append(record)
        return PlainTextResponse("answer")

    def gateway(*routes: Any) -> Starlette:
        return Starlette(routes=routes, middleware=[Middleware(FrontDoor)])

    inner = gateway(Route("/", answer))
    app = gateway(Mount("/app", Starlette(routes=[Route("/", answer)])), Mount("/gateway", inner))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        below_a_mount = await client.get("/app/")
        below_a_gateway = await client.get("/gateway/")
    assert below_a_mount.headers["x-served-by"] == "legacy; fallback"
    assert below_a_gateway.headers["x-served-by"] == "native"
    assert records[0] is not records[1]


async def test_a_gateway_below_a_mirrored_run_knows_that_it_is_one() -> None:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse(str(is_mirrored(request.scope)))

    gateway = Starlette(routes=[Route("/", answer)], middleware=[Middleware(FrontDoor)])

    async def mirror(scope: Any, receive: Any, send: Any) -> None:
        await gateway({**scope, KEY: RequestRecord.mirrored(Side.NATIVE)}, receive, send)

    for app, said in ((mirror, "True"), (gateway, "False")):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/")).text == said
