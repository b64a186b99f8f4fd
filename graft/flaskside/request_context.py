"""A request context of the Flask app around a native request: pushed in one call in a worker thread, popped in another.

Flask's contexts live in ContextVars, and what was set in one ``contextvars.Context`` can only be reset there. So a
request keeps one such Context, and every call enters it: ``g``, the session and the current user are the same objects
in each. ContextVars that either side sets come along: native's into the call, the call's back out, as asgiref does it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from functools import cache, partial
from inspect import iscoroutinefunction
from threading import get_ident
from typing import Any, TypeVar

import flask
from flask import Flask
from flask.sessions import SessionMixin
from werkzeug.routing import Rule

from graft.bridge.environ import build_environ
from graft.flaskside import asgiref_private
from graft.flaskside.flask_private import RequestContext, private
from graft.threads.executor import LegacyExecutor, LegacyTimeout, TimedCall, name_of, timeout_error, upload_of
from graft.threads.mailbox import ThreadMailbox
from graft.threads.request_thread import RequestThread
from graft.threads.work_timeout import WorkTimeout
from graft.types import Scope

log = logging.getLogger("graft.legacy")

T = TypeVar("T")


class NativeRequestContext:
    """Called on the loop; what it is given runs in one worker thread, from the first call to the teardown: what the app
    keeps for a thread, as a sqlite3 connection, is the request's own. ``begin`` once, ``run`` as often as needed,
    ``end`` always.

    The first call waits for a thread like any legacy request. The later ones never do: the thread is parked in between,
    so a request that may hold a database connection can go on and give it back while every legacy thread waits for that
    connection.

    A call that takes longer than the timeout of ``threads`` raises LegacyTimeout. The context then stays with the
    thread until it is back, and is torn down when it is.
    """

    def __init__(
        self,
        app: Flask,
        threads: LegacyExecutor,
        scope: Scope,
        body: Any,
        prefix: str = "",
        session: SessionMixin | None = None,
    ) -> None:
        """``session``: the request's, where it was opened before; the request has done something by then, and is not
        refused for want of a thread."""
        self.app = app
        self.environ = app_environ(scope, prefix, body)
        self.open = False
        self.for_stream = False
        """Whether the context is to last as long as the body, where that is streamed."""
        self._matches = belongs(scope, prefix)
        self._timeout = threads.timeout
        self._thread = RequestThread(threads.first(scope) if session is None else threads.later(scope))
        self._opened_session = session
        self._scope = scope
        self._given_up: TimedCall | None = None
        self._variables = Context()
        self._turn = asyncio.Lock()
        self._request: RequestContext = None
        self._current: _Call | None = None  # written by the request's thread

    @property
    def request(self) -> RequestContext:
        assert self._request is not None, "the context has not begun"
        return self._request

    @property
    def session(self) -> SessionMixin:
        session = private.session(self.request)
        assert session is not None
        return session

    async def begin(self, fn: Callable[[], T]) -> T:
        """Push the request context and call ``fn()`` in it, in one call. Raises PoolFull; then nothing was pushed."""
        try:
            return await self._call("the before_request functions", partial(self._push_and, fn), self._timeout)
        except asyncio.CancelledError:
            self._abandon()
            raise

    async def run(self, fn: Callable[[], T], what: str, *, timed: bool = True) -> T:
        """Call ``fn()`` in the request context. ``what`` it is, for the log. Not ``timed``, it has no limit."""
        return await self._call(what, fn, self._timeout if timed else None)

    @property
    def is_calling(self) -> bool:
        """Whether the caller stands in a call of this context already, which ends after what it asks for.

        Raises RuntimeError where it can't reach the request's thread: to wait for that one's turn would be for ever.
        """
        call = _current_call.get()
        if call is None or call is not self._current:
            return False
        lent = asgiref_private.lent()
        if get_ident() != call.thread and not (isinstance(lent, ThreadMailbox) and lent.is_served_by(call.thread)):
            raise RuntimeError(
                "legacy.run was called inside another legacy.run of the same request, whose thread waits for it: await "
                "it in an async function that the first one is given, or call it after that one"
            )
        return True

    async def run_inside(self, fn: Callable[..., Any]) -> Any:
        """Call ``fn()`` where ``is_calling``: at once in the request's thread, or on the loop of its async function."""
        if iscoroutinefunction(fn):
            return await fn()
        call = self._current
        return fn() if call is None or get_ident() == call.thread else await asgiref_private.call_in_lent(fn)

    async def end(self, error: BaseException | None = None) -> None:
        """Pop the request context if it is still there; its teardown functions are told of ``error``.

        Where a thread is stuck in it, that is left for later.
        """
        if self._is_stuck:
            self._abandon(error)
            return
        try:
            if self.open:
                with suppress(LegacyTimeout):  # it is in the log, and the answer has been given
                    await self._call("the teardown functions", partial(self.pop, error), self._timeout)
        finally:
            self._thread.release()

    def pop(self, error: BaseException | None = None) -> None:
        """``end``, for code that runs inside the context: the teardown happens once, whatever it raises."""
        if self.open:
            self.open = False
            self.request.pop(error)

    def call_on_loop(self, fn: Callable[[], T]) -> T:
        """Call ``fn()``, which must not block, on the loop, in a copy of the context: nothing that it sets is kept."""
        return self._variables.copy().run(fn)

    def _push_and(self, fn: Callable[[], T]) -> T:
        self._request = private.make_context(self.app, self.environ, matches=self._matches)
        if self._opened_session is not None:
            private.set_session(self._request, self._opened_session)
        self.open = True
        self._request.push()
        name_natively(self._request.request, self._scope)
        return fn()

    @property
    def _is_stuck(self) -> bool:
        """Whether a call that was given up still holds the context."""
        return self._given_up is not None and self._given_up.stuck

    def _abandon(self, error: BaseException | None = None) -> None:
        """The caller leaves while a call is on the way: take back what that has pushed, or will have."""
        _keep(asyncio.create_task(self._tear_down(error)))

    async def _tear_down(self, error: BaseException | None) -> None:
        try:
            await self._in_turn(partial(self.pop, error), copy_context())
        except Exception:
            log.exception("teardown after a request that was given up")
        finally:
            self._thread.release()

    async def _call(self, what: str, fn: Callable[[], T], timeout: float | None) -> T:
        if self._is_stuck:
            raise timeout_error(self._timeout)
        call = TimedCall(self._scope, what)
        task = asyncio.create_task(self._in_turn(partial(call.run, fn), copy_context()))
        _keep(task)
        try:
            async with WorkTimeout(timeout, upload_of(self._scope)) as timer:
                # A caller that is cancelled leaves, but the thread is still inside: the turn ends when it comes out.
                result = await asyncio.shield(task)
        except TimeoutError:
            if not timer.expired():
                raise
            late = call.give_up(timeout)
            if call.stuck:
                self._given_up = call
            else:
                task.cancel()
            raise late from None
        if not self.open:  # it was torn down in this call, and the answer may be a long stream
            self._thread.release()
        restore_variables(self._variables)
        return result

    async def _in_turn(self, fn: Callable[[], T], outside: Context) -> T:
        async with self._turn:
            return await self._thread.call(self._variables.run, self._with, outside, fn)

    def _with(self, outside: Context, fn: Callable[[], T]) -> T:
        """In the request's thread."""
        restore_variables(outside)
        call = self._current = _Call(get_ident())
        before = _current_call.set(call)  # goes along into what ``fn`` starts, and says nothing once this is over
        try:
            return fn()
        finally:
            self._current = None
            _current_call.reset(before)


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a context. ``thread``: the request's."""

    thread: int


def app_environ(scope: Scope, prefix: str, body: Any) -> dict[str, Any]:
    """The environ with which the Flask app below ``prefix`` would see this request, also from inside a native Mount."""
    root_path = scope.get("app_root_path", scope.get("root_path", "")) + prefix
    scope = {**scope, "root_path": root_path}
    if scope["type"] == "websocket":
        scope |= {"method": "GET", "http_version": "1.1", "scheme": scope.get("scheme", "ws").replace("ws", "http", 1)}
    return {**build_environ(scope), "wsgi.input": body}


class NativeRule(Rule):
    """The rule of a request that only a native route has one for. It is in no url map; ``rule`` is Starlette's path."""

    provide_automatic_options = False


def name_natively(request: flask.Request, scope: Scope) -> None:
    """Give ``request`` a rule and an endpoint of its own where the Flask app has none for it.

    Checks in before_request functions leave requests without an endpoint alone, as Flask answers those by 404:
    Flask-WTF's CSRFProtect and Flask-Limiter do. A native route answers them all the same, so it is to be checked.
    """
    if request.url_rule is None:
        request.url_rule = _native_rule(getattr(scope.get("route"), "path", ""), name_of(scope.get("endpoint")))
        request.view_args = dict(scope.get("path_params", {}))
        request.routing_exception = None


@cache
def _native_rule(path: str, name: str) -> NativeRule:
    """One for each native route. Its endpoint has no dot: what stands before one would be taken for a blueprint."""
    return NativeRule(path or "/", endpoint=f"native:{name.replace('.', ':')}")


def belongs(scope: Scope, prefix: str) -> bool:
    """Whether the path of this request lies where the Flask app is mounted."""
    path = scope["path"].removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    return not prefix or path == prefix or path.startswith(prefix + "/")


def restore_variables(source: Context) -> None:
    """Set every ContextVar as it is in ``source``, but for Flask's own: those stay with the thread."""
    of_flask = private.context_variables
    for var, value in source.items():
        if var not in of_flask and var.get(_MISSING) is not value:
            var.set(value)


def without_flask_context(fn: Callable[[], T]) -> T:
    """Call ``fn()`` outside of any Flask context that the caller may be in, with all other ContextVars."""
    return Context().run(_with, copy_context(), fn)


def _with(outside: Context, fn: Callable[[], T]) -> T:
    restore_variables(outside)
    return fn()


def _keep(task: asyncio.Task[Any]) -> None:
    """asyncio itself only holds tasks weakly."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_MISSING: Any = object()
_current_call: ContextVar[_Call | None] = ContextVar("graft_current_call", default=None)
_tasks: set[asyncio.Task[Any]] = set()
