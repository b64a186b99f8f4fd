"""One request's context of the Flask app, in one thread from its begin to its end."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any

from flask import Flask
from flask.globals import app_ctx
from flask.sessions import SessionInterface
from starlette.responses import JSONResponse, Response
from starlette.types import Scope
from werkzeug.exceptions import BadRequest

from graft.leaving.written.errors import InvalidRequest, NotRouted, as_werkzeug, shape
from graft.leaving.written.routing import copied

log = logging.getLogger(__name__)

MOST = 40
"""So many requests may be in the Flask app's code at once; others wait."""
BODY, SESSION = "flask_app.body", "flask_app.session"

_GIVES_CONTEXT = "ctx" in inspect.signature(Flask.preprocess_request).parameters
"""Whether this Flask is given the context by its callers, as 3.2 is."""


_closing: set[asyncio.Future[None]] = set()


class Threads:
    """Those of all requests. Used on the loop."""

    def __init__(self) -> None:
        self.idle: list[ThreadPoolExecutor] = []
        self.turns = asyncio.Semaphore(MOST)
        self.loop: asyncio.AbstractEventLoop | None = None


class FlaskContext:
    """One request's context of the app. Called on the loop; ``begin`` and the others below it run in its thread."""

    def __init__(self, app: Flask, threads: Threads, scope: Scope) -> None:
        self.app = app
        self._threads = threads
        self.variables = Context()
        self.environ = environ_of(scope, scope.get(BODY) or io.BytesIO())
        self.unhandled: BaseException | None = None
        """What no error handler took."""
        self._request: Any = None

    async def open(self) -> None:
        await self._threads.turns.acquire()
        self._threads.loop = asyncio.get_running_loop()
        idle = self._threads.idle
        self._thread = idle.pop() if idle else ThreadPoolExecutor(1, thread_name_prefix="flask")
        try:
            await self.call(self._push)
        except asyncio.CancelledError:  # the thread is still at it: what it has pushed then is popped behind it
            closing = asyncio.ensure_future(self.close())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)
            raise
        except BaseException:
            self._give_back()
            raise

    async def call(self, fn: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, self.variables.run, fn))

    async def close(self) -> None:
        """Pop it; its teardown functions are told of ``unhandled``."""
        try:
            await self.call(self._pop)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._threads.idle.append(self._thread)
        self._threads.turns.release()

    # In the request's thread.

    def _push(self) -> None:
        self._request = self.app.request_context(self.environ)
        self._request.push()

    def _pop(self) -> None:
        self._request.pop(self.unhandled)

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
            self.unhandled = unhandled
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


def handled(app: Flask, error: Exception) -> Any:
    """What the app's handler answers to ``error``, in the current context. Raises ``error`` where it has none."""
    answer: Any = app.handle_user_exception
    return answer(app_ctx._get_current_object(), error) if _GIVES_CONTEXT else answer(error)  # type: ignore[attr-defined]


class SessionOfTheScope(SessionInterface):
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
