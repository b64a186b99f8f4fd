"""What docs/background-tasks.md says of the way to a queue: the same function runs in arq, on a real Redis."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2 as httpx
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job
from starlette.applications import Starlette

from examples import arq_queue
from graft.settings import Settings
from graft.tasks import Runner, TaskState
from tests.parts import Process, redis
from tests.parts.gateway import PROJECT


@asynccontextmanager
async def app_with_both(data: Path, arq: ArqRedis) -> AsyncIterator[tuple[httpx.AsyncClient, Runner]]:
    app = Starlette(routes=arq_queue.routes)
    app.state.arq = arq
    async with Runner.open(Settings.load(data=data)) as runner:

        async def with_state(scope, receive, send):  # type: ignore[no-untyped-def]
            scope["state"] = {"tasks": runner}
            await app(scope, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client, runner


async def test_one_function_runs_in_the_gateway_and_in_arq(tmp_path: Path) -> None:
    with redis.running(tmp_path) as port:
        arq = await create_pool(RedisSettings(host="127.0.0.1", port=port))
        try:
            async with app_with_both(tmp_path / "data", arq) as (client, runner):
                task = (await client.post("/reports/ada")).json()["task"]
                job = (await client.post("/queued-reports/ada")).json()["job"]
                with anyio.fail_after(10):
                    while (await runner.find(task)).state is not TaskState.DONE:  # type: ignore[union-attr]
                        await asyncio.sleep(0.01)
            command = [sys.executable, "-m", "arq", "examples.arq_queue.WorkerSettings", "--burst"]
            env = {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{port}"}
            with Process(command, tmp_path / "arq.log", cwd=PROJECT, env=env) as worker:
                assert await asyncio.to_thread(worker.wait, 30) == 0, worker.output()
            assert await Job(job, arq).result(timeout=5) == "report of ada"
        finally:
            await arq.aclose()
