"""The native routes: ``/n/NUMBER``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def number(request: Request) -> Response:
    size = len(await request.body())
    return PlainTextResponse("ok", headers={"X-Number": request.path_params["number"], "X-Size": str(size)})


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
routes = [Route("/n/{number}", number, methods=METHODS)]
