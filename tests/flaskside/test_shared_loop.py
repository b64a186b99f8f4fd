"""Async views on the loop that they share: who has it to himself, and who runs beside the others."""

from __future__ import annotations

import asyncio
import threading

from flask import request

from graft.settings import LegacyLoop
from tests.bridge.test_wsgi_call import mounted
from tests.bridge.wire import until_true
from tests.flaskside.test_async_views import flask_app, got

PATIENCE = 60.0
"""Seconds that a test waits for what it expects, on a machine that is busy."""


class Query:
    """A synchronous query: ``answer`` gives its result to all who ask."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self._answered = threading.Event()

    def run(self) -> None:
        self.begun.release()
        assert self._answered.wait(PATIENCE)

    def answer(self) -> None:
        self._answered.set()


async def begins(query: Query) -> None:
    assert await asyncio.to_thread(query.begun.acquire, timeout=PATIENCE)


async def test_a_view_that_has_blocked_once_begins_beside_a_loop_that_is_busy() -> None:
    app = flask_app()
    queries: list[Query] = []
    loops: list[asyncio.AbstractEventLoop] = []

    @app.get("/query")
    async def query() -> str:
        queries[-1].run()
        return "rows"

    @app.get("/ping")
    async def ping() -> str:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return "pong"

    async with mounted(app, 4, loop=LegacyLoop.OWN) as mount:
        queries.append(Query())
        first = asyncio.create_task(got(mount, "/query"))
        await begins(queries[0])
        assert await got(mount, "/ping") == "pong"
        queries[0].answer()
        assert await first == "rows"

        busy = Query()
        loops[0].call_soon_threadsafe(busy.run)
        await begins(busy)
        queries.append(Query())
        second = asyncio.create_task(got(mount, "/query"))
        await begins(queries[1])
        queries[1].answer()
        assert not second.done()  # its answer waits for the loop
        busy.answer()
        assert await second == "rows"


async def test_views_that_block_at_once_all_block_at_the_same_time() -> None:
    together = threading.Barrier(8)

    async def view() -> str:
        together.wait(PATIENCE)
        await asyncio.sleep(0)
        together.wait(PATIENCE)
        return "rows"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    async with mounted(app, 8, loop=LegacyLoop.OWN) as mount:
        assert await asyncio.gather(*(got(mount) for _ in range(8))) == ["rows"] * 8


async def test_what_a_step_leaves_for_the_loop_is_done_while_it_blocks() -> None:
    query = Query()
    called = threading.Event()

    async def view() -> str:
        if request.args:
            return "pong"
        asyncio.get_running_loop().call_soon(called.set)
        query.run()
        return "rows"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    async with mounted(app, 2, loop=LegacyLoop.OWN) as mount:
        answer = asyncio.create_task(got(mount))
        await begins(query)
        assert await got(mount, query_string=b"ping=yes") == "pong"
        await until_true(called.is_set, PATIENCE)
        query.answer()
        assert await answer == "rows"
