"""The native route: aiohttp, with one session for the worker.

One shared httpx AsyncClient would be the trap here: its connection pool looks through all its connections at each
request, and with 200 callers it falls below Flask under gthread.
"""

from __future__ import annotations

import os

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_session: aiohttp.ClientSession | None = None


def _client() -> aiohttp.ClientSession:
    """Made by the first request, on the loop that it will live on. aiohttp's own limit is 100 connections."""
    global _session
    if _session is None:
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    return _session


async def upstream(request: Request) -> JSONResponse:
    async with _client().get(os.environ["UPSTREAM"]) as answer:
        return JSONResponse(await answer.json())


routes = [Route("/upstream", upstream)]
