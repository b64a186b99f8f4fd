"""The Flask app as a library: its functions, templates, URLs, hooks and error pages, for routes that it serves no more.

Each request has one context of it, in one thread from begin to end: ``g``, the session and what the app keeps for a
thread, such as a sqlite3 connection, are the request's own.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import IO, Any, cast

import flask
from flask import Flask
from flask.sessions import SessionInterface
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.exceptions import BadRequest

from graft.leaving.written.errors import InvalidRequest, NotRouted, as_werkzeug, error_page, shape
from graft.leaving.written.flask_session import CookieSettings
from graft.leaving.written.routing import copied

log = logging.getLogger(__name__)

THREADS = 40
"""So many requests may be in the Flask app's code at once; others wait."""
KEY, BODY, SESSION = "flask_app.context", "flask_app.body", "flask_app.session"

_GIVES_CONTEXT = "ctx" in inspect.signature(Flask.preprocess_request).parameters
"""Whether this Flask is given the context by its callers, as 3.2 is."""


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
        open_context: _Context | None = request.scope.get(KEY)
        if open_context is not None:
            return await open_context.call(call)
        context = _Context(self._side, request.scope)
        await context.open()
        try:
            return await context.call(call)
        finally:
            await context.close()

    def stream_with_context(self, request: HTTPConnection, body: Any) -> Any:
        """``body`` itself: behind the app's checks the context lasts to the end of each body."""
        return body

    async def render(self, request: HTTPConnection, template: str, /, **context: Any) -> Response:
        return HTMLResponse(await self.run(request, flask.render_template, template, **context))

    def url_for(self, request: HTTPConnection, endpoint: str, /, **values: Any) -> str:
        open_context: _Context | None = request.scope.get(KEY)
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
        self.loop: asyncio.AbstractEventLoop | None = None
        self.idle: list[ThreadPoolExecutor] = []
        self.turns = asyncio.Semaphore(THREADS)
        self.session_interface = app.session_interface
        """The app's own. A request's session is opened before its context."""
        app.session_interface = _SessionOfTheScope()
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

            assert self.loop is not None
            self.loop.call_soon_threadsafe(begin, context=copy_context())
            return done.result()

        return call

    async def error_page(self, request: Request, error: Exception) -> Response:
        """For ``Starlette(exception_handlers=...)``: what the app's handlers answer, or Flask's own page."""
        context = _Context(self, request.scope)
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
        context = _Context(self, handshake)
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
        body = await _read(receive) if scope["method"] not in ("GET", "HEAD", "OPTIONS") else None
        scope[BODY] = body
        context = _Context(self, scope)
        exchange = _Exchange(context, send)
        await context.open()
        error: Exception | None = None
        try:
            answer = await context.call(context.begin)
            if answer is None:
                scope[KEY] = context
                try:
                    await inner(scope, receive if body is None else _replaying(body, receive), exchange.send)
                except Exception as raised:
                    if exchange.has_begun:
                        raise
                    error = raised
                    answer = await context.call(partial(context.error_answer, raised))
            if answer is not None:
                await answer(scope, receive, send)
        finally:
            scope.pop(KEY, None)
            await context.close(error)
            if body is not None:
                body.close()


def _hand_over(task: asyncio.Future[Any], done: Future[Any]) -> None:
    if task.cancelled():
        done.cancel()
    elif (error := task.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(task.result())


class _Context:
    """One request's context of the app. Called on the loop; ``begin`` and the others below it run in its thread."""

    def __init__(self, side: FlaskSide, scope: Scope) -> None:
        self.side = side
        self.app = side.app
        self.variables = Context()
        self.environ = environ_of(scope, scope.get(BODY) or io.BytesIO())
        self._request: Any = None

    async def open(self) -> None:
        await self.side.turns.acquire()
        self.side.loop = asyncio.get_running_loop()
        self._thread = self.side.idle.pop() if self.side.idle else ThreadPoolExecutor(1, thread_name_prefix="flask")
        try:
            await self.call(self._push)
        except BaseException:
            self._give_back()
            raise

    async def call(self, fn: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, self.variables.run, fn))

    async def close(self, error: BaseException | None = None) -> None:
        try:
            await self.call(partial(self._request.pop, error))
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self.side.idle.append(self._thread)
        self.side.turns.release()

    # In the request's thread.

    def _push(self) -> None:
        self._request = self.app.request_context(self.environ)
        self._request.push()

    def begin(self) -> Response | None:
        """What the before_request functions answer, or None."""
        try:
            answer = self._step(self.app.preprocess_request)
            return None if answer is None else self._finished(self.app.make_response(answer))
        except Exception as error:
            return self.error_answer(error)

    def error_answer(self, error: Exception) -> Response:
        told = as_werkzeug(error)
        if isinstance(error, InvalidRequest) and not self._has_handler(422):
            told = BadRequest()
            told.__cause__ = error.__cause__
        try:
            try:
                raise told
            except Exception as raised:
                response = self.app.make_response(self._step(self.app.handle_user_exception, raised))
            for name, value in (getattr(error, "headers", None) or {}).items():
                response.headers[name] = value
            response = self.after(response)
        except Exception as unhandled:
            response = self._step(self.app.handle_exception, unhandled)
        is_page = response.status_code >= 400 and response.mimetype == "text/html"
        if is_page and self._prefers_json() and not isinstance(error, NotRouted):
            request_id = (self.environ.get(SESSION + ".state") or {}).get("request_id")
            response.set_data(bytes(JSONResponse(shape(response.status_code, told, request_id)).body))
            response.content_type = "application/json"
        return copied(response, self.environ)

    def _has_handler(self, status: int) -> bool:
        """Whether the app, or the blueprint that the request belongs to, has an error handler for just this status."""
        names = (None, *self._request.request.blueprints)
        return any(self.app.error_handler_spec.get(name, {}).get(status) for name in names)

    def after(self, response: Any) -> Any:
        return self._step(self.app.process_response, response)

    def after_native(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes | None) -> Response:
        """The route's answer past the after_request functions; without its body where that is a stream."""
        response = self.app.response_class()
        response.headers.clear()
        for name, value in headers:
            response.headers.add(name.decode("latin-1").title(), value.decode("latin-1"))
        response.status_code = status
        if body:
            response.set_data(body)
        elif body is None:
            response.automatically_set_content_length = False
        return copied(self.after(response), self.environ)

    def _finished(self, response: Any) -> Response:
        return copied(self.after(response), self.environ)

    def _step(self, method: Callable[..., Any], *args: Any) -> Any:
        return method(self._request, *args) if _GIVES_CONTEXT else method(*args)

    def _prefers_json(self) -> bool:
        accept = self._request.request.accept_mimetypes
        return bool(accept["application/json"] > accept["text/html"])


class _Exchange:
    """A route's answer on its way through the after_request functions."""

    def __init__(self, context: _Context, send: Send) -> None:
        self.has_begun = False
        self._context = context
        self._send = send
        self._start: Message = {}
        self._parts: list[bytes] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            names = {name.lower() for name, _ in message.get("headers", ())}
            if message["status"] in (204, 304) or b"content-length" in names:
                self._parts = []
            else:
                self.has_begun = True
                answer = await self._after(None)
                await self._send({**message, "status": answer.status_code, "headers": answer.raw_headers})
        elif message["type"] == "http.response.body" and self._parts is not None:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.has_begun = True
                answer = await self._after(b"".join(self._parts))
                start = {**self._start, "status": answer.status_code, "headers": answer.raw_headers}
                await self._send(start)
                await self._send({"type": "http.response.body", "body": answer.body})
        else:
            await self._send(message)

    async def _after(self, body: bytes | None) -> Response:
        start = self._start
        after = partial(self._context.after_native, start["status"], list(start.get("headers", ())), body)
        answer: Response = await self._context.call(after)
        return answer


class _SessionOfTheScope(SessionInterface):
    """The session that ``flask_session`` has opened, and saves."""

    def open_session(self, app: Flask, request: Any) -> Any:
        return request.environ.get(SESSION)

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        pass


def environ_of(scope: Scope, body: Any) -> dict[str, Any]:
    """The WSGI environ of a request, with its session where that is open."""
    root, path = scope.get("app_root_path", scope.get("root_path", "")), scope["path"]
    host, port = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": path.removeprefix(root).encode().decode("latin-1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"]),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": _Log(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        SESSION: scope.get("session"),
        SESSION + ".state": scope.get("state"),
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        joint = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{joint}{text}" if key in environ else text
    return environ


class _Log:
    def write(self, text: str) -> None:
        if text.strip():
            log.error(text.rstrip())

    def flush(self) -> None:
        pass


async def _read(receive: Receive) -> IO[bytes]:
    """The whole body, above a megabyte in a file: both the app's functions and the route may read it."""
    body = tempfile.SpooledTemporaryFile(1024 * 1024)  # noqa: SIM115
    while True:
        message = await receive()
        body.write(message.get("body", b""))
        if not message.get("more_body", False):
            body.seek(0)
            return body


def _replaying(body: IO[bytes], receive: Receive) -> Receive:
    """``receive`` as if nobody had read ``body`` yet."""
    at = 0

    async def replay() -> Message:
        nonlocal at
        if at < 0:
            return await receive()
        body.seek(at)
        part = body.read(64 * 1024)
        at += len(part)
        more = len(part) == 64 * 1024
        if not more:
            at = -1
            body.seek(0)
        return {"type": "http.request", "body": part, "more_body": more}

    return replay
