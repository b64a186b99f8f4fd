from __future__ import annotations

import os

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route


async def write(request: Request) -> PlainTextResponse:
    headers = {"x-worker": str(os.getpid())}
    if "x-fail" in request.headers:
        return PlainTextResponse("broken", 500, headers)
    return PlainTextResponse("native", 200, headers)


async def read(request: Request) -> JSONResponse:
    return JSONResponse({"said": "the same"}, headers={"x-worker": str(os.getpid())})


routes = [Route("/write", write, methods=["POST"]), Route("/read", read)]
