"""The native route, with the gateway's own client."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.apps.search.passages import answer, question


async def search(request: Request) -> JSONResponse:
    found = await request.state.elasticsearch.search(**question(request.query_params["q"]))
    return JSONResponse(answer(found))


routes = [Route("/search", search)]
