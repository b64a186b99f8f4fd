"""The legacy app under Graft's mount and under a plain a2wsgi mount, each with one native route beside it."""

from __future__ import annotations

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from benchmarks.apps.legacy import app
from graft.legacy.mount import LegacyMount


async def native(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def beside_native(mount: object) -> Starlette:
    return Starlette(routes=[Route("/native", native), Mount("/", mount)])  # type: ignore[arg-type]


graft_mount = LegacyMount(app, 16)
graft = beside_native(graft_mount)
plain = beside_native(WSGIMiddleware(app))
