"""Background tasks by themselves: a small service whose Flask app has no page at ``/``, so that the list is there.

GRAFT_LEGACY=examples.hello.legacy:app GRAFT_NATIVE=examples.hello python gateway.py
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from async_routes import hello


async def endpoints(request: Request) -> JSONResponse:
    """What there is to call."""
    return JSONResponse({f"GET {route.path}": " ".join((route.endpoint.__doc__ or "").split()) for route in routes})


async def page(request: Request) -> FileResponse:
    """The tasks as a person sees them, in a browser."""
    return FileResponse(Path(__file__).with_name("page.html"))


routes = [Route("/", endpoints), Route("/page", page), *hello.routes]
