"""Async views on the loop that they share: who has it to himself, and who runs beside the others."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from flask import copy_current_request_context, g, request
from flask_sock import Sock
from websockets.sync.client import connect

from graft.bridge.mount import LegacyMount
from graft.connection.protocol import Connection
from graft.settings import LegacyLoop
from graft.threads.loop_guards import guard_asyncio
from tests.bridge.test_wsgi_call import mounted
from tests.bridge.wire import get as http_get
from tests.bridge.wire import serving, talk, until_true
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


async def test_a_timer_wakes_the_loop_only_where_it_comes_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    loops, timers, wakes = list[Any](), list[asyncio.TimerHandle](), list[Any]()

    async def view() -> str:
        loop = asyncio.get_running_loop()
        loops.append(loop)
        if request.args["timer"] == "sleep":
            await asyncio.sleep(0.001)
        else:
            timers.append(loop.call_later(int(request.args["timer"]), timers.clear))
        return "done"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    async with mounted(app, 1, loop=LegacyLoop.OWN) as mount:
        assert await got(mount, query_string=b"timer=3600") == "done"
        loop = loops[0]
        await until_true(
            lambda: loop.is_waiting and loop.time() + 3000 < loop.waits_until < loop.time() + 3600, PATIENCE
        )
        monkeypatch.setattr(loop, "wake", lambda wake=loop.wake: (wakes.append(1), wake()))
        assert await got(mount, query_string=b"timer=7200") == "done"
        assert not wakes
        assert await got(mount, query_string=b"timer=sleep") == "done"
        assert wakes
        for timer in timers:
            timer.cancel()


class AsyncPool:
    """An async client's pool: its connections are changed by few lines without an await."""

    def __init__(self) -> None:
        self.connections = [1, 2, 3]

    async def take(self) -> int:
        return self.connections.pop()

    async def take_each(self) -> AsyncIterator[int]:
        while self.connections:
            yield self.connections.pop()


async def changes(kind: str) -> tuple[Callable[[], Awaitable[Any]], Callable[[], bool]]:
    """What changes an object that lives on the loop, and whether it has been."""
    lock, event, queue, semaphore, pool = (
        asyncio.Lock(),
        asyncio.Event(),
        asyncio.Queue[int](),
        asyncio.Semaphore(),
        AsyncPool(),
    )

    async def set_event() -> None:
        event.set()

    async def put() -> None:
        queue.put_nowait(1)

    async def take_first() -> int:
        return await anext(pool.take_each())

    return {
        "lock": (lock.acquire, lock.locked),
        "event": (set_event, event.is_set),
        "queue": (put, lambda: not queue.empty()),
        "semaphore": (semaphore.acquire, semaphore.locked),
        "client": (pool.take, lambda: len(pool.connections) < 3),
        "generator of a client": (take_first, lambda: len(pool.connections) < 3),
    }[kind]


@pytest.mark.parametrize("kind", ["lock", "event", "queue", "semaphore", "client", "generator of a client"])
async def test_a_step_that_runs_beside_the_loop_waits_for_it_before_it_changes_what_lives_there(kind: str) -> None:
    """Two at once would leave a lock that nobody gets, a waiter that nobody wakes, a connection with two users."""
    change, is_changed = await changes(kind)
    query, loops = Query(), list[Any]()

    async def view() -> str:
        if request.args:
            loops.append(asyncio.get_running_loop())
            return "pong"
        query.run()
        await change()
        return "rows"

    app = flask_app()
    app.add_url_rule("/", "view", view)
    async with mounted(app, 2, loop=LegacyLoop.OWN) as mount:
        answer = asyncio.create_task(got(mount))
        await begins(query)
        assert await got(mount, query_string=b"ping=yes") == "pong"  # it has lost the loop
        busy = Query()
        loops[0].call_soon_threadsafe(busy.run)
        await begins(busy)
        query.answer()
        await until_true(lambda: loops[0].lock.is_wanted or is_changed(), PATIENCE)
        was_changed = is_changed()
        busy.answer()
        assert await answer == "rows"
        assert (was_changed, is_changed()) == (False, True)


def test_what_is_guarded_is_so_once_and_has_its_name_and_signature_still() -> None:
    guard_asyncio()
    guarded = asyncio.Queue.put
    guard_asyncio()
    assert asyncio.Queue.put is guarded
    assert inspect.iscoroutinefunction(guarded)
    assert list(inspect.signature(guarded).parameters) == ["self", "item"]
    assert guarded.__qualname__ == "Queue.put"


class LoopBoundClient:
    """An async client as redis.asyncio's or asyncpg's: bound to the loop that it first met."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    async def user(self) -> str:
        loop = asyncio.get_running_loop()
        self.loop = self.loop or loop
        if self.loop is not loop:
            raise RuntimeError("the client is bound to a different event loop")
        await asyncio.sleep(0)
        return "ann"


@pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated")
@pytest.mark.parametrize("first", ["page", "websocket"])
@pytest.mark.parametrize("loop", [LegacyLoop.OWN, LegacyLoop.SERVER])
def test_the_async_hooks_of_a_websocket_run_on_the_loop_that_those_of_a_request_do(
    loop: LegacyLoop, first: str
) -> None:
    app, client = flask_app(), LoopBoundClient()
    sock = Sock(app)

    @app.before_request
    async def login() -> None:
        g.user = await client.user()

    @app.get("/")
    def page() -> str:
        return str(g.user)

    @sock.route("/ws")
    def websocket(ws: Any) -> None:
        ws.send(app.ensure_sync(client.user)() + g.user)

    with serving(LegacyMount(app, loop=loop), http=Connection) as port:
        asked = {
            "page": lambda: talk(port, http_get("/")).endswith(b"ann"),
            "websocket": lambda: said_by_websocket(port) == "annann",
        }
        for name in (first, *asked, *asked):
            assert asked[name](), name


def said_by_websocket(port: int) -> str:
    with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=PATIENCE, legacy=True) as websocket:
        return str(websocket.recv(PATIENCE))


async def test_a_thread_of_the_apps_own_uses_its_clients_on_the_shared_loop() -> None:
    app, client = flask_app(), LoopBoundClient()

    @app.get("/")
    async def view() -> str:
        return await client.user()

    @app.get("/thread")
    def in_thread() -> str:
        users: list[str] = []

        @copy_current_request_context
        def work() -> None:
            users.append(app.ensure_sync(client.user)())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(PATIENCE)
        return str(users)

    async with mounted(app, loop=LegacyLoop.OWN) as mount:
        assert await got(mount) == "ann"
        assert await got(mount, "/thread") == "['ann']"
