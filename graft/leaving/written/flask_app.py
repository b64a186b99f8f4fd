"""The Flask app as a library: its functions, templates, URLs, hooks and error pages, for routes that it serves no more.

Each request has one context of it, in one thread from begin to end: ``g``, the session and what the app keeps for a
thread, such as a sqlite3 connection, are the request's own.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import Any, cast

import flask
from flask import Flask
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.leaving.written.errors import error_page
from graft.leaving.written.flask_context import BODY, FlaskContext, SessionOfTheScope, Threads, environ_of, handled
from graft.leaving.written.flask_exchange import Exchange, read, replaying
from graft.leaving.written.flask_session import CookieSettings
from graft.leaving.written.routing import CONTEXT, copied

log = logging.getLogger(__name__)


def cookie_settings(app: Flask) -> CookieSettings:
    """As the app's configuration has them."""
    interface, config = app.session_interface, app.config
    return CookieSettings(
        keys=(*(config.get("SECRET_KEY_FALLBACKS") or ()), app.secret_key or ""),
        name=interface.get_cookie_name(app),
        path=interface.get_cookie_path(app),
        domain=interface.get_cookie_domain(app),
        secure=interface.get_cookie_secure(app),
        httponly=interface.get_cookie_httponly(app),
        samesite=interface.get_cookie_samesite(app),
        partitioned=bool(config.get("SESSION_COOKIE_PARTITIONED")),
        lifetime=int(app.permanent_session_lifetime.total_seconds()),
        refresh=bool(config["SESSION_REFRESH_EACH_REQUEST"]),
    )


class Legacy:
    """``request.state.legacy``: the app's functions, templates, URLs and JSON for a route."""

    def __init__(self, side: FlaskSide) -> None:
        self.app = side.app
        self._side = side

    async def run(self, request: HTTPConnection, fn: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
        """``fn(*args, **keywords)`` in a thread, in the app's request context. Raises what it does."""
        call = partial(self.app.ensure_sync(fn), *args, **keywords)
        open_context: FlaskContext | None = request.scope.get(CONTEXT)
        if open_context is not None:
            return await open_context.call(call)
        context = FlaskContext(self.app, self._side.threads, request.scope)
        await context.open()
        try:
            return await context.call(call)
        finally:
            await context.close()

    def stream_with_context(self, request: HTTPConnection, body: Any) -> Any:
        """``body`` itself: behind the app's checks the context lasts to the end of each body."""
        return body

    async def view(self, request: HTTPConnection, *, whole: bool = True) -> Response:
        """What the app's own view of this path answers, its error handlers included; raises what none of them takes.
        A stream is read to its end."""
        answer: Response = await self.run(request, _answer_of_view, request.scope.get("method", "GET"))
        return answer

    def g(self, request: HTTPConnection) -> Any:
        """Flask's ``g`` of this request; an empty one where no hooks run around it."""
        open_context: FlaskContext | None = request.scope.get(CONTEXT)
        if open_context is not None:
            return open_context.variables.copy().run(flask.g._get_current_object)
        return request.scope.setdefault("flask.g", self.app.app_ctx_globals_class())

    async def render(self, request: HTTPConnection, template: str, /, **context: Any) -> Response:
        return HTMLResponse(await self.run(request, flask.render_template, template, **context))

    def url_for(self, request: HTTPConnection, endpoint: str, /, **values: Any) -> str:
        open_context: FlaskContext | None = request.scope.get(CONTEXT)
        if open_context is not None:
            return open_context.variables.copy().run(self.app.url_for, endpoint, **values)
        return Context().run(self._url, request, endpoint, values)

    def _url(self, request: HTTPConnection, endpoint: str, values: dict[str, Any]) -> str:
        with self.app.request_context(environ_of(request.scope, io.BytesIO())):
            return self.app.url_for(endpoint, **values)

    def json(self, *args: Any, **keywords: Any) -> Response:
        return copied(self.app.json.response(*args, **keywords), {})


class FlaskSide:
    """One for all requests. With ``one_loop`` the app's async functions run on the server's loop, where async clients
    of its modules live from the first request to the last; else each call has a loop of its own, as in Flask."""

    def __init__(self, app: Flask, *, one_loop: bool = False) -> None:
        self.app = app
        self.threads = Threads()
        self.session_interface = app.session_interface
        """The app's own. A request's session is opened before its context."""
        app.session_interface = SessionOfTheScope()
        if one_loop:
            app.async_to_sync = cast(Any, self._on_the_loop)  # type: ignore[method-assign]

    def handled(self) -> set[type[Exception]]:
        """The exceptions that the app has handlers for, but for Exception itself."""
        tables = [handlers for spec in self.app.error_handler_spec.values() for handlers in spec.values()]
        return {kind for handlers in tables for kind in handlers} - {Exception}

    def around(self, inner: ASGIApp) -> ASGIApp:
        """``inner`` behind the app's before_request functions, with its after_request and teardown ones, and with its
        answers to errors."""
        return partial(self._around, inner)

    def _on_the_loop(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, called in a request's thread, which waits while the loop runs it in the request's context."""

        def call(*args: Any, **keywords: Any) -> Any:
            done: Future[Any] = Future()

            def begin() -> None:
                task = asyncio.ensure_future(function(*args, **keywords))
                task.add_done_callback(lambda ended: _hand_over(ended, done))

            assert self.threads.loop is not None
            self.threads.loop.call_soon_threadsafe(begin, context=copy_context())
            return done.result()

        return call

    async def error_page(self, request: Request, error: Exception) -> Response:
        """For ``Starlette(exception_handlers=...)``: what the app's handlers answer, or Flask's own page."""
        context = FlaskContext(self.app, self.threads, request.scope)
        await context.open()
        try:
            answer: Response = await context.call(partial(context.error_answer, error))
            return answer
        except Exception as failed:
            if failed is not error:
                log.exception("the app failed to make its error page")
            return await error_page(request, error)
        finally:
            await context.close()

    async def _guard(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """The before_request functions see the handshake of a WebSocket; who they turn away gets their answer."""
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        handshake = {"http_version": "1.1", **scope, "type": "http", "method": "GET", "scheme": scheme}
        context = FlaskContext(self.app, self.threads, handshake)
        await context.open()
        try:
            answer = await context.call(context.begin)
        finally:
            await context.close()
        if answer is None:
            return await inner(scope, receive, send)
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            return await send({"type": "websocket.close", "code": 1000})

        async def refuse(message: Message) -> None:
            await send({**message, "type": f"websocket.{message['type']}"})

        await answer(handshake, receive, refuse)

    async def _around(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._guard(inner, scope, receive, send)
        scope.pop("starlette.exception_handlers", None)  # what the route raises is told here, in this context
        body = await read(receive) if scope["method"] not in ("GET", "HEAD", "OPTIONS") else None
        if body is not None and body.closed:
            return  # the client left in the middle of it
        scope[BODY] = body
        context = FlaskContext(self.app, self.threads, scope)
        exchange = Exchange(context, send)
        await context.open()
        try:
            answer = await context.call(context.begin)
            if answer is None:
                scope[CONTEXT] = context
                try:
                    await inner(scope, receive if body is None else replaying(body, receive), exchange.send)
                except Exception as raised:
                    if exchange.has_begun:
                        context.unhandled = raised
                        raise
                    answer = await context.call(partial(context.error_answer, raised))
            if answer is not None:
                await answer(scope, receive, send)
        finally:
            scope.pop(CONTEXT, None)
            await context.close()
            if body is not None:
                body.close()


def _answer_of_view(method: str) -> Response:
    app: Flask = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    request = flask.request
    try:
        if request.routing_exception is not None:
            app.raise_routing_exception(request)
        view = app.view_functions[request.url_rule.endpoint if request.url_rule is not None else ""]
        answered = app.ensure_sync(view)(**(request.view_args or {}))
    except Exception as error:
        answered = handled(app, error)
    return copied(app.make_response(answered), {"REQUEST_METHOD": method})


def _hand_over(task: asyncio.Future[Any], done: Future[Any]) -> None:
    if task.cancelled():
        done.cancel()
    elif (error := task.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(task.result())
