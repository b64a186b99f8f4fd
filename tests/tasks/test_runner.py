from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx2 as httpx
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from graft import tasks
from graft.bridge.mount import LegacyMount
from graft.observe import requestid
from graft.routing.errors import error_handlers
from graft.routing.frontdoor import FrontDoor
from graft.settings import Settings
from graft.tasks import Runner, TaskRecord, TasksClosed, TasksFull, TaskState
from graft.tasks.ledger import Ledger
from graft.tasks.records import new_id


def settings(data: Path, **values: Any) -> Settings:
    return Settings.load(data=data, **values)


async def ended(runner: Runner, task_id: str) -> TaskRecord:
    with anyio.fail_after(10):
        while True:
            record = await runner.find(task_id)
            if record is not None and record.ended is not None:
                return record
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await asyncio.sleep(0.005)


async def nothing() -> None:
    pass


class Gate:
    """A task that runs until it is opened."""

    def __init__(self) -> None:
        self.begun = 0
        self.event = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self.event.wait()


async def test_a_task_gets_a_uuid_at_once_and_is_done_later(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as runner:
        gate = Gate()
        task_id = runner.start(gate)
        assert str(UUID(task_id)) == task_id
        waiting = await runner.find(task_id)
        assert waiting is not None
        assert waiting.state in (TaskState.WAITING, TaskState.RUNNING)
        await until(lambda: gate.begun)
        gate.event.set()
        record = await ended(runner, task_id)
        assert record.state is TaskState.DONE
        assert record.error is None
        assert record.created <= record.started <= record.ended  # type: ignore[operator]


async def test_arguments_reach_the_function_and_steps_are_told(tmp_path: Path) -> None:
    async def greet(name: str, *, times: int) -> None:
        for number in range(times):
            tasks.step(f"{number}: {name}")
        await asyncio.to_thread(tasks.step, "from a thread")

    async with Runner.open(settings(tmp_path)) as runner:
        record = await ended(runner, runner.start(greet, "ada", times=2))
        assert [step.text for step in record.steps] == ["0: ada", "1: ada", "from a thread"]
        told = record.as_json()
        assert told["step"] == "from a thread"
        assert told["state"] == "done"
        assert told["ended"].endswith("+00:00")


async def test_only_the_last_hundred_steps_are_kept_and_none_is_endless(tmp_path: Path) -> None:
    async def talk() -> None:
        for number in range(300):
            tasks.step(f"{number} " + "x" * 10_000)

    async with Runner.open(settings(tmp_path)) as runner:
        record = await ended(runner, runner.start(talk))
        assert len(record.steps) == 100
        assert record.steps[-1].text.startswith("299 ")
        assert len(record.steps[-1].text) == 500


@pytest.mark.parametrize(
    "error", [ValueError("no paper"), SystemExit(3), BaseExceptionGroup("several", [SystemExit(1)])]
)
async def test_a_task_that_raises_is_failed_and_harms_nothing_else(tmp_path: Path, error: BaseException) -> None:
    async def fail() -> None:
        raise error

    async with Runner.open(settings(tmp_path)) as runner:
        record = await ended(runner, runner.start(fail))
        assert record.state is TaskState.FAILED
        assert type(error).__name__ in (record.error or "")
        assert (await ended(runner, runner.start(nothing))).state is TaskState.DONE
        assert (await runner.counts())[TaskState.FAILED] == 1


async def test_a_task_that_cancels_itself_is_failed_not_interrupted(tmp_path: Path) -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    async with Runner.open(settings(tmp_path)) as runner:
        assert (await ended(runner, runner.start(cancel))).state is TaskState.FAILED


async def test_what_is_no_async_function_is_refused_with_the_mend(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as runner:
        with pytest.raises(TypeError, match=r"asyncio\.to_thread"):
            runner.start(print, "hello")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=re.escape("not tasks.start(function(argument))")):
            runner.start(nothing())  # type: ignore[arg-type]
        assert (await ended(runner, runner.start(partial(nothing)))).name.endswith("nothing")
    assert (await asyncio.sleep(0)) is None


async def test_a_wrong_argument_fails_the_task(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as runner:
        record = await ended(runner, runner.start(nothing, 1))
        assert record.state is TaskState.FAILED
        assert "TypeError" in (record.error or "")


async def test_above_the_limit_no_task_starts_until_one_ends(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path, tasks_limit=2)) as runner:
        gate = Gate()
        first = [runner.start(gate), runner.start(gate)]
        with pytest.raises(TasksFull, match="2 background tasks"):
            runner.start(gate)
        gate.event.set()
        for task_id in first:
            await ended(runner, task_id)
        runner.start(nothing)


async def test_the_request_id_and_nothing_else_goes_along(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str | None, bool]] = []
    flask_app = Flask(__name__)

    async def look() -> None:
        from flask import has_app_context

        seen.append((requestid.current.get(), has_app_context()))

    with caplog.at_level(logging.INFO, "graft.tasks"):
        async with Runner.open(settings(tmp_path)) as runner:
            token = requestid.current.set("abc-1")
            with flask_app.app_context():
                task_id = tasks.start(look)
            requestid.current.reset(token)
            record = await ended(runner, task_id)
    assert seen == [("abc-1", False)]
    assert record.request_id == "abc-1"
    assert {line.request_id for line in caplog.records if task_id in line.getMessage()} == {"abc-1"}  # type: ignore[attr-defined]


async def test_tasks_start_from_any_thread_and_run_on_the_loop(tmp_path: Path) -> None:
    threads: list[int] = []

    async def where() -> None:
        threads.append(threading.get_ident())

    async with Runner.open(settings(tmp_path)) as runner:
        ids = await asyncio.gather(*(asyncio.to_thread(tasks.start, where) for _ in range(50)))
        for task_id in ids:
            assert (await ended(runner, task_id)).state is TaskState.DONE
    assert len(set(ids)) == 50
    assert set(threads) == {threading.get_ident()}


async def test_without_a_gateway_start_says_what_is_missing() -> None:
    with pytest.raises(TasksClosed, match="no gateway runs in this process"):
        tasks.start(nothing)


def test_a_step_outside_of_a_task_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft.tasks"):
        tasks.step("half way")
    assert caplog.messages == ["half way"]


async def test_where_a_refusal_is_set_nothing_starts(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as runner:
        token = tasks.refusal.set(RuntimeError)
        try:
            with pytest.raises(RuntimeError, match="start the task nothing"):
                tasks.start(nothing)
        finally:
            tasks.refusal.reset(token)
        assert sum((await runner.counts()).values()) == 0


async def test_unknown_and_malformed_ids_are_nobodys(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as runner:
        for task_id in (
            "",
            "x",
            "0" * 10_000,
            "\x00",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            new_id(),
            new_id().upper(),
        ):
            assert await runner.find(task_id) is None


async def test_another_worker_tells_a_task_that_was_just_started(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as one, Runner.open(settings(tmp_path)) as other:
        gate = Gate()
        task_id = one.start(gate)
        record = await other.find(task_id)
        assert record is not None
        gate.event.set()
        assert (await ended(other, task_id)).state is TaskState.DONE
        assert await other.counts() == await one.counts()


# Shutting down


async def test_at_the_end_tasks_get_their_time(tmp_path: Path) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.1)

    async with Runner.open(settings(tmp_path)) as runner:
        ids = [runner.start(slow) for _ in range(100)]
    assert states_in(tmp_path, ids) == {"done"}


async def test_tasks_that_need_longer_are_recorded_as_interrupted(tmp_path: Path) -> None:
    cleaned = []

    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(1)

    async with Runner.open(settings(tmp_path, graceful_timeout=0)) as runner:
        ids = [runner.start(endless) for _ in range(3)]
        await until(
            lambda: all(task.state is TaskState.RUNNING for task in runner._running.values()) and runner._running
        )
        late = runner.start(endless)
    assert states_in(tmp_path, [*ids, late]) == {"interrupted"}
    assert len(cleaned) == 3


async def test_a_task_that_ignores_its_cancelling_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft.tasks.runner.CLEANUP", 0.05)
    gate = Gate()

    async def stubborn() -> None:
        while not gate.event.is_set():
            try:
                await gate()
            except asyncio.CancelledError:
                continue

    async with Runner.open(settings(tmp_path, graceful_timeout=0)) as runner:
        task_id = runner.start(stubborn)
        await until(lambda: gate.begun)
    assert states_in(tmp_path, [task_id]) == {"interrupted"}
    gate.event.set()
    await until(lambda: not runner._running)
    assert states_in(tmp_path, [task_id]) == {"interrupted"}


async def test_a_closed_runner_starts_nothing(tmp_path: Path) -> None:
    async with Runner.open(settings(tmp_path)) as runner:
        pass
    with pytest.raises(TasksClosed, match="shutting down"):
        runner.start(nothing)


def states_in(folder: Path, ids: list[str]) -> set[str]:
    connection = sqlite3.connect(folder / "tasks.sqlite3")
    try:
        rows = dict(connection.execute("SELECT id, state FROM tasks").fetchall())
    finally:
        connection.close()
    return {rows[task_id] for task_id in ids}


# What a user sees


@asynccontextmanager
async def gateway(data: Path, flask_app: Flask, *routes: Route, **values: Any) -> AsyncIterator[httpx.AsyncClient]:
    mount = LegacyMount(flask_app)
    async with Runner.open(settings(data, **values)) as runner:
        app = Starlette(
            routes=[*routes, Mount("/", app=mount)],
            middleware=[Middleware(FrontDoor, legacy=mount)],
            exception_handlers=error_handlers({HTTPException: _plain}),
        )

        async def with_tasks(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("state", {})["tasks"] = runner
            await app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_tasks), base_url="http://test") as client:
            yield client
        await mount.aclose()


async def _plain(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse(str(error), getattr(error, "status_code", 500))


async def test_sync_and_async_flask_views_start_tasks(tmp_path: Path) -> None:
    app = Flask(__name__)

    @app.get("/sync")
    def sync_view() -> str:
        return tasks.start(nothing)

    @app.get("/async")
    async def async_view() -> str:
        return tasks.start(nothing)

    async def state(request: Request) -> PlainTextResponse:
        record = await request.state.tasks.find(request.path_params["id"])
        return PlainTextResponse(record.state)

    async with gateway(tmp_path, app, Route("/state/{id}", state)) as client:
        for path in ("/sync", "/async"):
            task_id = (await client.get(path)).text
            with anyio.fail_after(10):
                while (await client.get(f"/state/{task_id}")).text != "done":
                    await asyncio.sleep(0.01)


async def test_too_many_tasks_are_a_clear_503_on_both_sides(tmp_path: Path) -> None:
    app = Flask(__name__)
    gate = Gate()

    @app.get("/flask")
    def view() -> str:
        return tasks.start(gate)

    async def native(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.tasks.start(gate))

    async with gateway(tmp_path, app, Route("/native", native), tasks_limit=1) as client:
        assert (await client.get("/native")).status_code == 200
        refused = await client.get("/native")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["error"]["code"] == "too_many_tasks"
        assert "1 background tasks run here already" in refused.json()["error"]["message"]
        legacy = await client.get("/flask")
        assert legacy.status_code == 503
        assert legacy.headers["retry-after"] == "5"
        assert "1 background tasks run here already" in legacy.text
        gate.event.set()


async def test_metrics_count_them(tmp_path: Path, metric: Callable[..., float]) -> None:
    before = metric("graft_tasks_ended_total", state="done")
    async with Runner.open(settings(tmp_path, tasks_limit=1)) as runner:
        gate = Gate()
        task_id = runner.start(gate)
        assert metric("graft_tasks_unfinished") == 1
        refused = metric("graft_tasks_refused_total")
        with pytest.raises(TasksFull):
            runner.start(gate)
        assert metric("graft_tasks_refused_total") == refused + 1
        gate.event.set()
        await ended(runner, task_id)
    assert metric("graft_tasks_unfinished") == 0
    assert metric("graft_tasks_ended_total", state="done") == before + 1


async def test_a_waiting_task_at_shutdown_is_interrupted_before_it_begins(tmp_path: Path) -> None:
    begun: list[int] = []

    async def begin() -> None:
        begun.append(1)

    async with Runner.open(settings(tmp_path, graceful_timeout=0)) as runner:
        ids = [runner.start(begin) for _ in range(200)]
    states = states_in(tmp_path, ids)
    assert states <= {"done", "interrupted"}
    assert "interrupted" in states
    assert len(begun) < 200


async def test_dead_workers_tasks_are_told_at_the_next_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    ledger_left_behind = Ledger(tmp_path / "tasks.sqlite3")
    ledger_left_behind.open()
    async with Runner.open(settings(tmp_path)) as runner:
        task_id = runner.start(gate)
        await until(lambda: gate.begun)
        record = await runner.find(task_id)
        assert record is not None
        gate.event.set()
        await ended(runner, task_id)
    ledger_left_behind.note(Left(record))
    ledger_left_behind.flush()
    ledger_left_behind.presence.let_go()
    async with Runner.open(settings(tmp_path)) as runner:
        found = await runner.find(task_id)
        assert found is not None
        assert found.state is TaskState.LOST
    assert "1 background tasks were lost" in caplog.text
    ledger_left_behind.close()


class Left:
    """A task as its dead worker had written it."""

    def __init__(self, record: TaskRecord) -> None:
        self.id, self.state, self._record = record.id, record.state, record

    def record(self) -> TaskRecord:
        return self._record
