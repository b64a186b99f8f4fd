"""One native request's stay in the Flask app: its request context, pushed in one hop and popped in another.

Flask's contexts live in ContextVars, and what was set in one ``contextvars.Context`` can only be reset there. So a
visit keeps one, and every hop enters it: ``g``, the session and the current user are the same objects in each.
ContextVars that either side sets come along: native's into the hop, the hop's back out, as asgiref does it.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from flask import Flask
from flask.ctx import RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import SessionMixin
from werkzeug.exceptions import NotFound

from graft.legacy.environ import build_environ
from graft.legacy.pool import Pool
from graft.types import Scope

log = logging.getLogger("graft.legacy")

T = TypeVar("T")


class Visit:
    """``run`` takes turns: the request context, like the database session behind it, is for one thread at a time.

    The first hop waits for a thread like any legacy request. The later ones never do: a request that may hold a
    database connection must be able to go on and give it back while every legacy thread waits for that connection.
    """

    def __init__(self, app: Flask, pool: Pool, scope: Scope, body: Any, prefix: str = "") -> None:
        self.app = app
        self.environ = app_environ(scope, prefix, body)
        self.open = False
        self._matches = belongs(scope, prefix)
        self._pool = threads_for(scope, pool)
        self._context = Context()
        self._turn = asyncio.Lock()
        self._request: RequestContext | None = None

    @property
    def request(self) -> RequestContext:
        assert self._request is not None, "the visit has not begun"
        return self._request

    @property
    def session(self) -> SessionMixin:
        session = self.request._session  # not .session: that would count as a touch
        assert session is not None
        return session

    async def begin(self, fn: Callable[[], T]) -> T:
        """Push the request context and call ``fn()`` in it, in one hop. Raises PoolFull; then nothing was pushed."""
        try:
            return await self._hop(self._pool, partial(self._push_and, fn))
        except asyncio.CancelledError:
            _keep(asyncio.create_task(self._abandon()))
            raise

    async def run(self, fn: Callable[[], T]) -> T:
        """Call ``fn()`` in the request context."""
        return await self._hop(_again(self._pool), fn)

    async def end(self, error: BaseException | None = None) -> None:
        """Pop the request context if it is still there; its teardown functions are told of ``error``."""
        if self.open:
            await self._hop(_again(self._pool), partial(self.pop, error))

    def pop(self, error: BaseException | None = None) -> None:
        """``end``, for code that runs inside the visit: the teardown happens once, whatever it raises."""
        if self.open:
            self.open = False
            self.request.pop(error)

    def peek(self, fn: Callable[[], T]) -> T:
        """Call ``fn()``, which must not block, on the loop, in a copy of the context: nothing that it sets is kept."""
        return self._context.copy().run(fn)

    def _push_and(self, fn: Callable[[], T]) -> T:
        self._request = request_context(self.app, self.environ, matches=self._matches)
        self.open = True
        self._request.push()
        return fn()

    async def _abandon(self) -> None:
        """The caller left while its first hop was on the way: take back what that will have pushed."""
        try:
            await self._hop(_again(self._pool), self.pop)
        except Exception:
            log.exception("teardown after a request that was given up")

    async def _hop(self, pool: Pool, fn: Callable[[], T]) -> T:
        hop = asyncio.create_task(self._in_turn(pool, fn, copy_context()))
        _keep(hop)
        # A caller that is cancelled leaves, but the thread is still inside: the turn ends when the thread comes out.
        result = await asyncio.shield(hop)
        carry(self._context)
        return result

    async def _in_turn(self, pool: Pool, fn: Callable[[], T], outside: Context) -> T:
        async with self._turn:
            return await pool.run(self._context.run, _with, outside, fn)


def app_environ(scope: Scope, prefix: str, body: Any) -> dict[str, Any]:
    """The environ with which the Flask app below ``prefix`` would see this request, also from inside a native Mount."""
    root_path = scope.get("app_root_path", scope.get("root_path", "")) + prefix
    scope = {**scope, "root_path": root_path}
    if scope["type"] == "websocket":
        scope |= {"method": "GET", "http_version": "1.1", "scheme": scope.get("scheme", "ws").replace("ws", "http", 1)}
    return {**build_environ(scope), "wsgi.input": body}


def request_context(app: Flask, environ: dict[str, Any], *, matches: bool = True) -> RequestContext:
    """A request context, not pushed; with ``matches=False`` its path is no rule of the app's, whatever it says."""
    context = app.request_context(environ)
    if not matches:
        context.match_request = partial(_match_nothing, context)  # type: ignore[method-assign]
    return context


def belongs(scope: Scope, prefix: str) -> bool:
    """Whether the path of this request lies where the Flask app is mounted."""
    path = scope["path"].removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    return not prefix or path == prefix or path.startswith(prefix + "/")


def carry(source: Context) -> None:
    """Set every ContextVar as it is in ``source``, but for Flask's own: those stay with the thread."""
    for var, value in source.items():
        if var is not _cv_app and var is not _cv_request and var.get(_MISSING) is not value:
            var.set(value)


def apart(fn: Callable[[], T]) -> T:
    """Call ``fn()`` outside of any Flask context that the caller may be in, with all other ContextVars."""
    return Context().run(_with, copy_context(), fn)


def _match_nothing(context: RequestContext) -> None:
    context.request.routing_exception = NotFound()


def _with(outside: Context, fn: Callable[[], T]) -> T:
    carry(outside)
    return fn()


def threads_for(scope: Scope, pool: Pool) -> Pool:
    """``pool``, or for the native run of a mirrored request other threads, so that it stands in no user's way."""
    if not scope.get("graft.mirror"):
        return pool
    mirrored = _mirrored.get(pool)
    if mirrored is None:
        mirrored = _mirrored[pool] = Pool(threads=4, queue=1_000_000, name=f"{pool.name}-mirror")
    return mirrored


def _again(pool: Pool) -> Pool:
    """The threads for second and later hops: as many as it takes, since none of them may wait for a first hop."""
    again = _later_hops.get(pool)
    if again is None:
        again = _later_hops[pool] = Pool(threads=256, queue=1_000_000, name=f"{pool.name}-again")
    return again


def _keep(task: asyncio.Task[Any]) -> None:
    """asyncio itself only holds tasks weakly."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_MISSING: Any = object()
_tasks: set[asyncio.Task[Any]] = set()
_mirrored: weakref.WeakKeyDictionary[Pool, Pool] = weakref.WeakKeyDictionary()
_later_hops: weakref.WeakKeyDictionary[Pool, Pool] = weakref.WeakKeyDictionary()
