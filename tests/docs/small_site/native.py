"""The native twins of two rules of the Flask app."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def both(request: Request) -> JSONResponse:
    return JSONResponse({"answer": 42})


routes = [Route("/native", both), Route("/mirrored", both)]
