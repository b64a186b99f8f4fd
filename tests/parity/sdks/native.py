"""Native routes beside these apps."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def native(request: Request) -> Response:
    return PlainTextResponse("native")


async def broken(request: Request) -> Response:
    raise ValueError("a native fault")


async def through(request: Request) -> Response:
    return PlainTextResponse(await request.state.legacy.run(request, lambda: "through"))


routes = [
    Route("/native/{number:int}", native),
    Route("/native-broken", broken),
    Route("/native-through", through),
    Route("/switched", native),
    Route("/compared", native),
    Route("/falls-back", broken),
]
