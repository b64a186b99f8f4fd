"""The native routes of the gateway under test: GRAFT_NATIVE points here."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def native(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


routes = [Route("/native", native)]
