from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


async def native(request: Request) -> Response:
    client = request.client
    return JSONResponse(
        {
            "url": str(request.url),
            "client": client.host if client else None,
            "to": f"{request.base_url}legacy",
            "headers": dict(request.headers),
            "pid": os.getpid(),
            "version": os.environ.get("SITE_VERSION", "1"),
        }
    )


async def events(request: Request) -> Response:
    async def produce() -> AsyncIterator[str]:
        yield "data: first\n\n"
        await asyncio.sleep(float(request.query_params.get("wait", "1")))
        yield "data: second\n\n"

    return StreamingResponse(produce(), media_type="text/event-stream")


async def sleep(request: Request) -> Response:
    await asyncio.sleep(request.path_params["seconds"])
    return JSONResponse({"slept": request.path_params["seconds"], "pid": os.getpid()})


async def task(request: Request) -> Response:
    """Leaves a task behind, of ``?seconds=``; ``?id=`` tells the state of one."""
    if (known := request.query_params.get("id")) is not None:
        record = await request.state.tasks.find(known)
        return JSONResponse({"state": record and record.state})
    return JSONResponse({"id": request.state.tasks.start(asyncio.sleep, float(request.query_params.get("seconds", 0)))})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{text} from {websocket.client.host if websocket.client else None}")


routes = [
    Route("/native", native),
    Route("/both", native),
    Route("/native-task", task),
    Route("/native-events", events),
    Route("/native-sleep/{seconds:float}", sleep),
    WebSocketRoute("/echo", echo),
]
