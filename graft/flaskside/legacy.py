"""``request.state.legacy``: the Flask app's functions, templates, URLs and JSON for native routes."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar, cast

import flask
from flask import Flask
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from graft.errors import LegacyAppError
from graft.flaskside.flask_private import RequestContext, behind, private, streams_anywhere
from graft.flaskside.request_context import NativeRequestContext, app_environ, belongs, without_flask_context
from graft.flaskside.responses import CopiedResponse, Streamed, body_of
from graft.request_record import RequestRecord
from graft.threads.executor import LegacyExecutor, name_of

T = TypeVar("T")

_inside_run: ContextVar[bool] = ContextVar("graft_inside_run", default=False)
_G = "graft.g"
"""In the scope: ``g`` where no hooks have one."""

_STREAMS_ANYWHERE = streams_anywhere()

SMALL = 65_536
"""Bytes: a file that is no longer is read where the view ran, not part by part."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Legacy:
    """One for all requests. ``app`` is None where the legacy side is no Flask app: then only ``run`` works."""

    def __init__(self, app: Flask | None, threads: LegacyExecutor, prefix: str = "") -> None:
        self.app = app
        self.threads = threads
        self.prefix = prefix

    async def run(self, request: HTTPConnection, fn: Callable[..., T], /, *args: Any, **keywords: Any) -> T:
        """``fn(*args, **keywords)`` in a legacy thread, in the app's request context. Raises what it does,
        LegacyTimeout, and PoolFull in a request that reads.

        Behind the app's hooks that is the hooks' own context, one call at a time; in the body of a streamed response
        one that begins with the first call there, by the before_request functions, and ends with the body, unless
        ``stream_with_context`` has kept the first one. Without hooks each call has a context of its own, torn down at
        its end. The session is the request's in all. An async ``fn`` runs as Flask's async views do; behind hooks it
        may call this itself.
        """
        what, visit = f"legacy.run({name_of(fn)})", RequestRecord.of(request.scope).stream_visit
        context = _context_of_hooks(request) if visit is None else await visit.context()
        if context is not None:
            if context.is_calling:
                return cast(T, await context.run_inside(partial(fn, *args, **keywords)))
            return await context.run(partial(context.app.ensure_sync(fn), *args, **keywords), what)
        call = partial(fn, *args, **keywords)
        if self.app is not None:
            call = partial(without_flask_context, partial(self._inside, self.app, request, _open_body(request), call))
        run = self._choose_run(request)
        before = _inside_run.set(True)  # goes along into what ``fn`` starts
        try:
            return cast(T, await run(request.scope, what, call))
        finally:
            _inside_run.reset(before)

    def _choose_run(self, request: HTTPConnection) -> Callable[..., Awaitable[Any]]:
        if _inside_run.get():  # the first threads may all be held by calls that wait for one like this
            return self.threads.run_later
        # A native route that writes may have done so by now: 503 would have its client write once more.
        return self.threads.run if request.scope.get("method") in _READS else self.threads.run_anyway

    def stream_with_context(self, request: HTTPConnection, body: T) -> T:
        """``body`` itself, for a streamed response behind the app's hooks: their context, with ``g``, user and thread,
        lasts to its end, and so does what they hold there. Called before the response is returned."""
        context = _context_of_hooks(request)
        if context is not None:
            context.for_stream = True
        return body

    async def view(self, request: HTTPConnection, *, whole: bool = False) -> Response:
        """What the Flask app's own view of this path answers, called as by ``run``: a native route begins as its twin.
        Its errors are answered by the app's error handlers; raises what none of them takes. A stream goes out as it is
        made; with ``whole``, for who needs its ``body``, it is read to its end. Where the app has no rule for the path,
        the answer is its 404.
        """
        self._flask("view")
        whole = whole or not (_STREAMS_ANYWHERE or _context_of_hooks(request))
        answer, body = await self.run(request, partial(_answer_of_view, whole))
        if body is None:
            return Streamed(answer)
        return CopiedResponse(answer, {"REQUEST_METHOD": request.scope.get("method", "GET")}, body)

    def g(self, request: HTTPConnection) -> Any:
        """Flask's ``g`` of this request: behind hooks the one that they have filled, without any an empty one."""
        context = _context_of_hooks(request)
        if context is not None:
            return context.call_on_loop(partial(behind, flask.g))
        found = request.scope.get(_G)
        if found is None:
            found = request.scope[_G] = self._flask("g").app_ctx_globals_class()
        return found

    async def render(self, request: HTTPConnection, template: str, /, **context: Any) -> Response:
        """The page that ``flask.render_template`` gives, with the app's context processors, filters and messages."""
        self._flask("render")
        return HTMLResponse(await self.run(request, flask.render_template, template, **context))

    def url_for(self, request: HTTPConnection, endpoint: str, /, **values: Any) -> str:
        """What ``flask.url_for`` gives inside this request: below its SCRIPT_NAME, or whole with ``_external=True``."""
        app = self._flask("url_for")
        context = _context_of_hooks(request)
        if context is not None:
            return context.call_on_loop(partial(app.url_for, endpoint, **values))
        return copy_context().run(self._url, app, request, endpoint, values)

    def json(self, *args: Any, **keywords: Any) -> Response:
        """A response with the bytes and headers that ``flask.jsonify`` would give."""
        response = cast(WerkzeugResponse, self._flask("json").json.response(*args, **keywords))
        return CopiedResponse(response, {})

    def _flask(self, method: str) -> Flask:
        if self.app is None:
            raise LegacyAppError(
                "GRAFT_LEGACY",
                "it leads to a WSGI app that is not a Flask app",
                f"legacy.{method} needs a Flask app; legacy.run works with any.",
            )
        return self.app

    def _inside(self, app: Flask, request: HTTPConnection, body: io.BufferedIOBase, fn: Callable[[], T]) -> T:
        context = self._context(app, request, body)
        if "session" in request.scope:
            private.set_session(context, request.scope["session"])
        with context:
            return cast(T, app.ensure_sync(fn)())

    def _context(self, app: Flask, request: HTTPConnection, body: io.BufferedIOBase) -> RequestContext:
        environ = app_environ(request.scope, self.prefix, body)
        return private.make_context(app, environ, matches=belongs(request.scope, self.prefix))

    def _url(self, app: Flask, request: HTTPConnection, endpoint: str, values: dict[str, Any]) -> str:
        """In a context of its own that is never pushed: no session is opened, no signal sent."""
        context = self._context(app, request, io.BytesIO())
        if endpoint.startswith("."):
            context.match_request()
        private.set_current(context)
        return app.url_for(endpoint, **values)


def _answer_of_view(whole: bool) -> tuple[WerkzeugResponse, bytes | None]:
    """In the request's context, behind the app's hooks: what Flask's own dispatch does there, apart from the hooks. The
    body is None for a stream that is still to be made."""
    app: Flask = behind(flask.current_app)
    request = flask.request
    try:
        if request.routing_exception is not None:
            app.raise_routing_exception(request)
        rule = request.url_rule
        view = app.view_functions.get(rule.endpoint) if rule is not None else None
        if view is None:
            raise NotFound
        answered: Any = app.ensure_sync(view)(**(request.view_args or {}))
    except Exception as error:
        answered = private.handle_user_exception(app, error)
    answer: WerkzeugResponse = app.make_response(answered)
    streams = not (whole or answer.is_sequence or (answer.content_length or SMALL + 1) <= SMALL)
    return answer, None if streams else body_of(answer)


def _context_of_hooks(request: HTTPConnection) -> NativeRequestContext | None:
    context: NativeRequestContext | None = RequestRecord.of(request.scope).flask_context
    return context if context is not None and context.open else None


def _open_body(request: HTTPConnection) -> io.BufferedIOBase:
    """The request's body for ``wsgi.input``, from its first byte, whoever has read it. On the loop."""
    body = RequestRecord.of(request.scope).body
    return io.BytesIO() if body is None else body.open()
