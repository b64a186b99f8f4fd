"""Native routes that read bodies: plain, behind the Flask app's hooks, through ``legacy.run``, mounted, on a host."""

import flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route


async def size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def streamed(request: Request) -> Response:
    return PlainTextResponse(str(sum([len(part) async for part in request.stream()])))


def size_in_flask() -> str:
    return str(len(flask.request.get_data()))


async def run(request: Request) -> Response:
    return PlainTextResponse(await request.state.legacy.run(request, size_in_flask))


routes: list[BaseRoute] = [
    Route("/native", size, methods=["POST"]),
    Route("/streamed", streamed, methods=["POST"]),
    Route("/switched", size, methods=["POST"]),
    Route("/run", run, methods=["POST"]),
    Route("/run-without-hooks", run, methods=["POST"]),
    Mount("/mounted", routes=[Route("/size", size, methods=["POST"])]),
    Host("hosted", app=Starlette(routes=[Route("/hosted", size, methods=["POST"])])),
]
