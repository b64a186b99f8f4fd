"""The native side: as a mirror it is slow, fails, or never answers; two of its routes serve users."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route


async def prompt(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def slow(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.2)
    return PlainTextResponse("hello")


async def failing(request: Request) -> PlainTextResponse:
    raise RuntimeError("not yet written")


async def hanging(request: Request) -> PlainTextResponse:
    await asyncio.sleep(3600)
    return PlainTextResponse("too late")


async def article(request: Request) -> JSONResponse:
    return JSONResponse({"id": 17, "title": "A river runs through it", "tags": ["water", "wood"], "score": 1.25})


routes = [
    Route("/dark", article),
    Route("/calm", article),
    Route("/alone", prompt),
    Route("/slow", slow),
    Route("/failing", failing),
    Route("/hanging", hanging),
    Route("/native-alone", prompt),
    Route("/native-slow", prompt),
]
