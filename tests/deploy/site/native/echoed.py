"""A route that both sides have and that never agrees: what a client sends is compared, redacted and stored."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def echoed(request: Request) -> Response:
    said = dict(request.query_params)
    return JSONResponse({"side": "native", "said": said, "agent": request.headers.get("user-agent")})


routes = [Route("/echoed", echoed)]
