"""Whoever is told a task's id finds it in the ledger: nothing that may name it is sent before."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from graft import tasks
from graft.bridge.mount import LegacyMount
from graft.routing.frontdoor import FrontDoor
from graft.settings import Settings
from graft.tasks import Runner
from graft.tasks import commits as commits_module
from graft.tasks.commits import pending


async def nothing() -> None:
    pass


started: list[str] = []


def start() -> str:
    started.append(tasks.start(nothing))
    return started[-1]


async def native(request: Request) -> PlainTextResponse:
    return PlainTextResponse(start())


async def fails(request: Request) -> PlainTextResponse:
    raise RuntimeError(start())


async def stream(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        yield "first\n"
        yield start()
        yield "last\n"
        yield start()

    return StreamingResponse(parts())


async def in_a_thread(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await asyncio.to_thread(start))


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(start())
    await websocket.close()


def legacy() -> Flask:
    app = Flask("legacy")

    @app.get("/sync")
    def sync_view() -> str:
        return start()

    @app.get("/async")
    async def async_view() -> str:
        return start()

    @app.get("/generator")
    def generator() -> Response:
        def parts() -> Iterator[str]:
            yield "first"
            yield start()

        return Response(parts())

    return app


class Client:
    """Sends one request, and looks into the ledger each time that something comes back."""

    def __init__(self, app: Any, path: Path) -> None:
        self._app = app
        self._path = path
        self.sent: list[Any] = []
        self.missing: set[str] = set()
        """Ids of tasks that were not written when something was sent after their start."""

    async def ask(self, path: str, kind: str = "http") -> None:
        scope = {"type": kind, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
        scope |= {"http_version": "1.1", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1), "state": {}}
        scope |= {"method": "GET", "subprotocols": [], "server": ("test", 80), "asgi": {"version": "3.0"}}
        began = False

        async def receive() -> Any:
            nonlocal began
            if began:
                await asyncio.Event().wait()
            began = True
            return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}

        await self._app(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        with closing(sqlite3.connect(self._path)) as connection:
            written = {task_id for (task_id,) in connection.execute("SELECT id FROM tasks")}
        self.missing |= set(started) - written

    @property
    def text(self) -> str:
        bodies = (message.get("body", b"").decode() + message.get("text", "") for message in self.sent)
        return "".join(bodies)


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Client]:
    started.clear()
    mount = LegacyMount(legacy())
    routes = [
        Route("/native", native),
        Route("/fails", fails),
        Route("/stream", stream),
        Route("/thread", in_a_thread),
        WebSocketRoute("/socket", socket),
        Mount("/", app=mount),
    ]
    async with Runner.open(Settings.load(data=folder)) as runner:
        app = Starlette(routes=routes, middleware=[Middleware(FrontDoor, legacy=mount)])
        first = runner.start(nothing)  # the file is there
        while await runner.find(first) is None:
            await asyncio.sleep(0.005)
        with anyio.fail_after(30):
            yield Client(app, folder / "tasks.sqlite3")
        await mount.aclose()


@contextmanager
def busy(path: Path, seconds: float = 0.15) -> Iterator[None]:
    """Another process writes for ``seconds``: what is to be written now has to wait for it."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(seconds, connection.execute, ("ROLLBACK",))
    timer.start()
    yield
    timer.join()
    connection.close()


@pytest.mark.parametrize(
    ("path", "kind", "starts"),
    [
        ("/native", "http", 1),
        ("/fails", "http", 1),
        ("/stream", "http", 2),
        ("/thread", "http", 1),
        ("/sync", "http", 1),
        ("/async", "http", 1),
        ("/generator", "http", 1),
        ("/socket", "websocket", 1),
    ],
)
async def test_nothing_is_sent_before_the_task_is_written(tmp_path: Path, path: str, kind: str, starts: int) -> None:
    async with gateway(tmp_path) as client:
        with busy(tmp_path / "tasks.sqlite3"):
            await client.ask(path, kind)
        assert len(started) == starts
        assert client.missing == set()
        assert client.sent
        if path != "/fails":
            assert all(task_id in client.text for task_id in started)
        assert not pending


async def test_others_do_not_wait_for_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        with busy(tmp_path / "tasks.sqlite3", 0.5):
            waiting = asyncio.create_task(client.ask("/native"))
            while not started:
                await asyncio.sleep(0)
            bystander = Client(client._app, client._path)
            await bystander.ask("/nowhere")
            assert bystander.sent[0]["status"] == 404
            assert not client.sent
            await waiting


async def test_a_client_that_leaves_meanwhile_takes_nobody_along(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        other = Client(client._app, client._path)
        with busy(tmp_path / "tasks.sqlite3", 0.3):
            leaving, staying = asyncio.create_task(client.ask("/native")), asyncio.create_task(other.ask("/native"))
            while len(started) < 2 or len(pending) < 2:
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)  # both wait
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            await staying
        assert other.sent[0]["status"] == 200
        assert other.missing == set()
        assert not pending


async def test_a_thread_without_a_request_waits_in_start(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        with busy(tmp_path / "tasks.sqlite3"):
            await asyncio.get_running_loop().run_in_executor(None, start)  # hands no context over
            await client._send({"type": "nothing"})
        assert client.missing == set()


async def test_two_hundred_starts_go_into_a_few_transactions(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        statements: list[str] = []
        runner = tasks.runner._runner
        assert runner is not None
        with runner._ledger._disk:
            connection = runner._ledger._connection
            assert connection is not None
            connection.set_trace_callback(statements.append)
            clients = [Client(client._app, client._path) for _ in range(200)]
            asked = [asyncio.create_task(one.ask("/native")) for one in clients]
            while len(started) < 200:
                await asyncio.sleep(0)
        await asyncio.gather(*asked)
        assert statements.count("COMMIT") < 20
        assert not any(one.missing for one in clients)


async def test_a_disk_that_takes_nothing_holds_no_answer(tmp_path: Path) -> None:
    """Tasks run on then, and the log says that only their worker can tell them."""
    async with gateway(tmp_path) as client:
        runner = tasks.runner._runner
        assert runner is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner._ledger, "_connected", partial(broken, "disk I/O error"))
            for _ in range(3):
                await client.ask("/native")
        assert [message["status"] for message in client.sent if "status" in message] == [200] * 3


async def test_a_disk_that_hangs_holds_an_answer_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(commits_module, "LONGEST_WAIT", 0.05)
    async with gateway(tmp_path) as client:
        with busy(tmp_path / "tasks.sqlite3", 0.4):
            await client.ask("/native")
            await asyncio.get_running_loop().run_in_executor(None, start)
            assert client.sent[0]["status"] == 200
            assert set(started) & client.missing
    assert caplog.text.count("not written within 0.05 s") == 2


async def test_a_commit_that_was_quicker_leaves_nothing_behind() -> None:
    commit = commits_module.Commit()
    commit.set_result(None)
    commits_module.hold("quick", commit)
    assert not pending


def broken(reason: str) -> Any:
    raise sqlite3.OperationalError(reason)
