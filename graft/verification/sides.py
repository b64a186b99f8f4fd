"""The two sides of every route in this process, without a server: what a test and ``graft verify`` ask.

The app is the gateway's own, with its front door and hooks, but for what belongs to one that serves: no control plane,
no mirror, no promotion, no record for other commands to find. Data folder and switches are copies in a temporary
folder, the embedded search engine's file too; the database is the app's own.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import tomlkit
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Match, Mount

from graft.connection.forwarded import ForwardedHeaders
from graft.errors import FleetUnavailable
from graft.flaskside.side import LegacySide
from graft.mirroring.answers import Answer
from graft.mirroring.failures import Failure, failure_of
from graft.operations import open_state
from graft.operations.switch import Switch
from graft.operations.switches import Switches, load
from graft.routing.errors import error_handlers
from graft.routing.frontdoor import FrontDoor
from graft.routing.openapi_pages import route_table
from graft.routing.subtrees import Subtree
from graft.routing.table import RouteTable
from graft.search.client import FILE, open_client
from graft.settings import Settings
from graft.switching.subtree_board import SubtreeBoard
from graft.switching.switchboard import Switchboard
from graft.switching.switching import Switching
from graft.tasks import Runner
from graft.types import ASGIApp, RouteKey, Scope, Side
from graft.verification.asking import DEADLINE, NoAnswer, Request, ask
from graft.verification.other_app import OtherApp

SIDE = "graft.verification.side"
"""In the scope: the side that has to answer, whatever the switches say."""


class TwoSides:
    """``app`` is the whole gateway. ``native``, where given, is asked in the place of the native side of all routes."""

    def __init__(
        self,
        app: Starlette,
        state: dict[str, Any],
        table: RouteTable,
        switches: Switches,
        legacy_app: Flask | None,
        native: OtherApp | None = None,
    ) -> None:
        self.app = app
        self.legacy_app = legacy_app
        self.table = table
        self.switches = switches
        self._state = state
        self._native = native

    def route_of(self, request: Request) -> tuple[RouteKey, Switch] | None:
        """The switched route that answers, and its switch; None where one side alone has it."""
        if self._native is not None:
            return RouteKey(request.method, request.target.partition("?")[0]), self.switches.defaults
        board = board_of(self.app, request.scope())
        return (board.key, board.switch) if board is not None else None

    async def ask(self, side: Side, request: Request, switch: Switch, *, fenced: bool) -> Answer | NoAnswer:
        """What one side says. A native side that failed is NoAnswer, though the legacy side would answer for it."""
        if side is Side.NATIVE and self._native is not None:
            return await self._native.ask(request, fenced=fenced, allow=switch.allow)
        failures: list[BaseException | None] = []
        token = _failures.set(failures)
        try:
            app = _chosen(self.app, side)
            answer = await ask(app, request, side, state=self._state, fenced=fenced, allow=switch.allow)
        finally:
            _failures.reset(token)
        if isinstance(answer, Answer) and side is Side.NATIVE and _served_by(answer) == Side.FALLBACK:
            return _failed(failures, answer)
        return answer


def _failed(failures: list[BaseException | None], answer: Answer) -> NoAnswer:
    """By the exception that came out of the native side, or that the app's hooks told by a page of theirs."""
    raised = failures[0] if failures else None
    failure = Failure("it answered 5xx", "")
    if raised is not None:
        failure = failure_of(raised, DEADLINE)
    elif answer.failure is not None:
        failure = Failure(answer.failure, answer.error or "")
    return NoAnswer(f"the native side failed: {failure.line}", failure)


def _served_by(answer: Answer) -> str:
    return (answer.header(b"x-served-by") or b"").decode()


def _chosen(app: ASGIApp, side: Side) -> ASGIApp:
    async def call(scope: Scope, receive: Any, send: Any) -> None:
        scope[SIDE] = side
        await app(scope, receive, send)

    return call


def board_of(app: Starlette, scope: Scope) -> Switchboard | None:
    """The switchboard that answers ``scope``; None where only one side has the route."""
    for route in app.routes:
        if route.matches(scope)[0] is Match.FULL:
            found = getattr(route, "app", None)
            found = found.app if isinstance(found, Subtree) else found
            if (by_method := getattr(found, "by_method", None)) is not None:
                found = by_method.get(scope["method"])
            if isinstance(found, SubtreeBoard):
                return found.reading
            return found if isinstance(found, Switchboard) else None
    return None


@contextmanager
def sides_by_scope() -> Iterator[None]:
    """Inside, a scope that has SIDE goes to that side. (one thread, around everything that is asked)"""
    chosen = Switchboard.is_native

    def is_native(self: Switchboard, scope: Scope) -> bool:
        side = scope.get(SIDE)
        return chosen(self, scope) if side is None else side is Side.NATIVE

    Switchboard.is_native = is_native  # type: ignore[method-assign]
    try:
        yield
    finally:
        Switchboard.is_native = chosen  # type: ignore[method-assign]


def switches_text(settings: Settings) -> str:
    """The rules by which routes are compared: those of the fleet, where there is one that has begun, else the file's.
    Raises FleetUnavailable. (blocks)"""
    if settings.fleet is not None:
        from graft.fleet.fleet_state import FleetState

        try:
            snapshot = cast(FleetState, open_state(settings)).cluster.read()
        except FleetUnavailable as error:
            mend = f"To compare by {settings.switches}: GRAFT_FLEET= graft verify"
            raise FleetUnavailable(error.setting, error.found, mend) from None
        if snapshot is not None:
            return snapshot.text
    return settings.switches.read_text(encoding="utf-8") if settings.switches.is_file() else ""


def unmirrored_switches(text: str) -> str:
    """The switches of ``text``, with nothing mirrored and nobody climbing: both sides are asked here."""
    document = tomlkit.parse(text)
    document.setdefault("defaults", tomlkit.table())["mirror"] = 0
    for name, table in document.items():
        if name != "defaults":
            for setting in ("climb", "climb_at", "climb_share"):
                table.pop(setting, None)
            if "mirror" in table:
                table["mirror"] = 0
    return tomlkit.dumps(document)


@asynccontextmanager
async def open_sides(settings: Settings, native: OtherApp | None = None) -> AsyncIterator[TwoSides]:
    """Both sides of the app that ``settings`` name, until the block ends. ``native``: see TwoSides.

    Raises what a gateway with these settings raises at its start.
    """
    with tempfile.TemporaryDirectory(prefix="graft-verify-") as folder, sides_by_scope(), _failures_heard():
        data = Path(folder)
        switches = data / "switches.toml"
        switches.write_text(unmirrored_switches(await asyncio.to_thread(switches_text, settings)), encoding="utf-8")
        _copy_of_search(settings.data / FILE, data / FILE)
        changes = {"data": data, "switches": switches, "webhook": (), "log_user": None, "fleet": None}
        inside = settings.model_copy(update=changes)
        legacy = LegacySide(inside)
        table = route_table(inside, legacy.rules)
        switching = Switching(inside, legacy)
        app = Starlette(
            routes=[
                *table.routes(switching.app, legacy.around),
                Mount(inside.legacy_prefix, app=legacy.mount, name="legacy"),
            ],
            middleware=[
                Middleware(ForwardedHeaders, "127.0.0.1", inside.forwarded, ()),
                Middleware(FrontDoor, legacy=legacy.mount, legacy_has=legacy.has_path),
            ],
            exception_handlers=error_handlers(legacy.error_handlers),
        )
        async with AsyncExitStack() as running:
            elasticsearch = await running.enter_async_context(open_client(inside))
            if not inside.elasticsearch_url:
                await elasticsearch.indices.exists(index="graft")  # else it opens its file behind the fence
            await running.enter_async_context(legacy.running())
            tasks = await running.enter_async_context(Runner.open(inside))
            await running.enter_async_context(table.running(legacy.app))
            state = {"elasticsearch": elasticsearch, "legacy": legacy.context, "tasks": tasks}
            yield TwoSides(app, state, table, load(switches), legacy.app, native)


def _copy_of_search(engine: Path, copy: Path) -> None:
    """What the embedded engine has now; a gateway that runs may go on writing."""
    if engine.is_file():
        there = f"{engine.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(there, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)


_failures: ContextVar[list[BaseException | None] | None] = ContextVar("graft_verification_failures", default=None)


class _Failures(logging.Handler):
    """Hears why the native side failed: in the task of the request that it failed for."""

    def emit(self, record: logging.LogRecord) -> None:
        failures = _failures.get()
        if failures is not None:
            failures.append(record.exc_info[1] if record.exc_info else None)


@contextmanager
def _failures_heard() -> Iterator[None]:
    logger = logging.getLogger("graft.switching.native_side")
    handler = _Failures(logging.ERROR)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
