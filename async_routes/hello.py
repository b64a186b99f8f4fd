"""A greeting that leaves work behind: background tasks with ids, counted and told from any worker."""

from __future__ import annotations

import asyncio
import random

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graft import tasks

STEPS = (("gathering", 5.0), ("writing", 3.0))
"""What the work consists of, and how long each part takes, in seconds."""
FAILING = 0.1
"""The share of tasks that fail on purpose, so that one sees what that looks like."""

NO_STORE = {"Cache-Control": "no-store"}


class Unlucky(Exception):
    """One in ten tasks."""


async def work(fails: bool) -> None:
    for number, (what, seconds) in enumerate(STEPS, 1):
        tasks.step(f"step {number} of {len(STEPS)}: {what}")
        await asyncio.sleep(seconds)
    if fails:
        raise Unlucky("this task was one of the ten percent that fail on purpose")


async def hello(request: Request) -> Response:
    """Answers at once: ``{"message", "task": id, "state_url"}``; the work goes on without the client."""
    task_id = request.state.tasks.start(work, fails=random.random() < FAILING)
    told = {"message": "Hello! Your task has started.", "task": task_id, "state_url": f"/tasks/{task_id}"}
    return JSONResponse(told, headers=NO_STORE)


async def status(request: Request) -> Response:
    """How many tasks of all workers are in each state: ``{"waiting", "running", "done", "failed", ...}``."""
    return JSONResponse(await request.state.tasks.counts(), headers=NO_STORE)


async def task(request: Request) -> Response:
    """One task, wherever it runs; 404 for an id that nobody knows."""
    record = await request.state.tasks.find(request.path_params["id"])
    if record is None:
        raise HTTPException(404, "There is no such task, or it ended more than seven days ago.")
    answer: Response = record.response()
    return answer


routes = [
    Route("/hello", hello),
    Route("/status", status),
    Route("/tasks/{id}", task),
]
