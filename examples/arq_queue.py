"""The same function as a background task of the gateway and as a job of arq, a queue on Redis.

The worker is a process of its own::

    REDIS_URL=redis://localhost:6379 arq examples.arq_queue.WorkerSettings
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, ClassVar

from arq.connections import RedisSettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graft import tasks


async def make_report(name: str) -> str:
    """The work itself. It knows neither the gateway nor arq: ``step`` outside of a task is a log line."""
    tasks.step(f"counting for {name}")
    await asyncio.sleep(0.01)
    tasks.step("writing")
    return f"report of {name}"


async def report_in_the_gateway(request: Request) -> JSONResponse:
    """Good enough for what may be lost with its worker."""
    return JSONResponse({"task": request.state.tasks.start(make_report, request.path_params["name"])}, 202)


async def report_in_the_queue(request: Request) -> JSONResponse:
    """For what must not be lost: Redis has it before the client has its answer."""
    job = await request.app.state.arq.enqueue_job("report_job", request.path_params["name"])
    return JSONResponse({"job": job.job_id}, 202)


async def report_job(context: dict[str, Any], name: str) -> str:
    """arq hands its context to every job."""
    return await make_report(name)


class WorkerSettings:
    functions: ClassVar[list[Any]] = [report_job]
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost:6379"))
    max_tries = 3


routes = [
    Route("/reports/{name}", report_in_the_gateway, methods=["POST"]),
    Route("/queued-reports/{name}", report_in_the_queue, methods=["POST"]),
]
