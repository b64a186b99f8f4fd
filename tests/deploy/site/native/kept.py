"""Routes that keep something: documents, many at once, background tasks. What they acknowledge is there for good."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

INDEX = "kept"


async def document(request: Request) -> Response:
    await request.state.elasticsearch.index(index=INDEX, id=request.path_params["id"], document={"n": 1})
    return JSONResponse({"kept": request.path_params["id"]})


async def bulk(request: Request) -> Response:
    """Ten documents in one request."""
    ids = [f"{request.path_params['id']}-{number}" for number in range(10)]
    lines = [line for name in ids for line in ({"index": {"_id": name}}, {"n": 10})]
    answer = await request.state.elasticsearch.bulk(index=INDEX, operations=lines)
    return JSONResponse({"kept": ids} if not answer["errors"] else {"errors": True}, 500 if answer["errors"] else 200)


async def found(request: Request) -> Response:
    """Which of the ids in the body are there."""
    answer = await request.state.elasticsearch.mget(index=INDEX, ids=await request.json())
    return JSONResponse([each["_id"] for each in answer["docs"] if each.get("found")])


async def task(request: Request) -> Response:
    """``?seconds=`` is how long it takes."""
    seconds = float(request.query_params.get("seconds", "0.05"))
    return JSONResponse({"kept": request.state.tasks.start(asyncio.sleep, seconds)})


async def known(request: Request) -> Response:
    """The states of the tasks whose ids are in the body; null for one that nobody knows."""
    records = [await request.state.tasks.find(name) for name in await request.json()]
    return JSONResponse([record and record.state for record in records])


async def tasks(request: Request) -> Response:
    """How many asyncio tasks the worker has."""
    return JSONResponse(len(asyncio.all_tasks()))


async def crash(request: Request) -> Response:
    raise ValueError("on purpose")


routes = [
    Route("/asyncio-tasks", tasks),
    Route("/native-crash", crash),
    Route("/kept-document/{id}", document, methods=["POST"]),
    Route("/kept-bulk/{id}", bulk, methods=["POST"]),
    Route("/kept-found", found, methods=["POST"]),
    Route("/kept-task/{id}", task, methods=["POST"]),
    Route("/kept-known", known, methods=["POST"]),
]
