"""Errors of native routes, told by the Flask app: its error handlers, its pages, its signals and its log.

Which form the answer has: what the app's own handler gives, or Flask's plain page where it has none. Where that is HTML
and the client's ``Accept`` prefers JSON, it is the error shape ``{"error": {"code", "message", "request_id"}}``.
"""

from __future__ import annotations

import io
import logging
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Flask
from flask import Response as FlaskResponse
from flask.globals import request as flask_request
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable, default_exceptions
from werkzeug.http import parse_accept_header

from graft.error_answers import ErrorAnswer, error_response
from graft.flaskside.flask_private import private
from graft.flaskside.request_context import app_environ, belongs, without_flask_context
from graft.flaskside.responses import CopiedResponse
from graft.routing.starlette_private import debug_page
from graft.threads.executor import LegacyExecutor, LegacyTimeout
from graft.threads.pool import PoolFull
from graft.threads.starting import NoThread

log = logging.getLogger("graft")


class InvalidRequest(StarletteHTTPException):
    """What a client sent does not validate: 422 where the Flask app has a handler for that, else 400, as Flask's own
    views say it. ``__cause__`` is the framework's error, also of the exception that the app's handler gets."""

    def __init__(self) -> None:
        super().__init__(422)


class ErrorPages:
    """``handlers()`` is for ``Starlette(exception_handlers=...)``. ``app`` is None if the legacy side isn't Flask."""

    def __init__(self, app: Flask | None, threads: LegacyExecutor, prefix: str = "") -> None:
        self.app = app
        self.threads = threads
        self.prefix = prefix

    def handlers(self) -> dict[Any, ExceptionHandler]:
        """One for each kind of exception that is an answer in itself, and ``Exception`` for all the others."""
        of_the_app = handled_errors(self.app) if self.app else ()
        expected = [StarletteHTTPException, HTTPException, PoolFull, NoThread, *of_the_app]
        return {**dict.fromkeys(expected, self.answer), LegacyTimeout: _too_late, Exception: self.crash}

    async def answer(self, request: Request, error: Exception) -> Response:
        """For HTTPExceptions of either framework and what the Flask app has a handler for."""
        if isinstance(error, (PoolFull, NoThread)):
            return plain_page(request, ServiceUnavailable(retry_after=1))
        return await self._ask_the_app(request, error)

    async def crash(self, request: Request, error: Exception) -> Response:
        """For what nobody expected: a 500 without a traceback, unless the Flask app is in debug mode."""
        if self.app is not None and self.app.debug:
            return debug_page(request, error)
        return await self._ask_the_app(request, error)

    async def _ask_the_app(self, request: Request, error: Exception) -> Response:
        if self.app is None:
            return plain_page(request, error)
        try:
            make = partial(without_flask_context, partial(self._in_the_app, self.app, request, error))
            return await self.threads.run(request.scope, "the error page", make)
        except Exception as failed:
            if failed is not error:
                log.exception("the legacy app failed to make its error page")
            return plain_page(request, error)

    def _in_the_app(self, app: Flask, request: Request, error: Exception) -> Response:
        environ = app_environ(request.scope, self.prefix, io.BytesIO())
        context = private.make_context(app, environ, matches=belongs(request.scope, self.prefix))
        if "session" in request.scope:
            private.set_session(context, request.scope["session"])
        with context:
            response, _ = handle_error(app, error)
        return CopiedResponse(response, environ)


async def _too_late(request: Request, error: Exception) -> Response:
    return ErrorAnswer(504, "legacy_timeout", str(error))


def handle_error(app: Flask, error: Exception) -> tuple[FlaskResponse, Exception | None]:
    """What the Flask app answers to ``error``, through its handlers, ``after_request`` functions and the session save;
    and the exception that none of its handlers took, of which teardown functions are to hear.

    Inside a request context. Raises ``error`` in debug mode and where PROPAGATE_EXCEPTIONS says so, as Flask does.
    """
    told = _as_werkzeug(app, error)
    not_taken = None
    try:
        try:
            raise told
        except Exception as raised:
            response = app.make_response(private.handle_user_exception(app, raised))
        for name, value in (getattr(error, "headers", None) or {}).items():
            response.headers[name] = value
        response = private.finalize(app, response)
    except Exception as unhandled:
        not_taken = unhandled
        response = private.handle_exception(app, unhandled)
    if _html(response) and _prefers_json(flask_request.accept_mimetypes):
        response.set_data(_shape(response.status_code, told))
        response.content_type = "application/json"
    return response, not_taken


def is_expected(app: Flask, error: Exception) -> bool:
    """Whether ``error`` is an answer in itself: an HTTPException, or of a kind that the app has a handler for."""
    return isinstance(error, (StarletteHTTPException, HTTPException, *handled_errors(app)))


def handled_errors(app: Flask) -> tuple[type[Exception], ...]:
    """The exceptions that the app registered handlers for; a handler for every ``Exception`` is not one of these."""
    by_code = [handlers for spec in app.error_handler_spec.values() for handlers in spec.values()]
    return tuple({kind for handlers in by_code for kind in handlers if kind is not Exception})


def plain_page(request: HTTPConnection, error: Exception) -> Response:
    """The answer without the app: the error shape where the client prefers JSON, else a page in Flask's plain style."""
    if isinstance(error, StarletteHTTPException) and _has_no_page(error.status_code):
        return Response(status_code=error.status_code, headers=error.headers)
    told = _as_werkzeug(None, error)
    told = told if isinstance(told, HTTPException) else InternalServerError()
    status = told.code or 500
    headers = {**dict(told.get_headers()), **(getattr(error, "headers", None) or {})}
    if _prefers_json(parse_accept_header(request.headers.get("accept"), MIMEAccept)):
        return Response(_shape(status, told), status, {**headers, "Content-Type": "application/json"})
    return Response(told.get_body(), status, headers)


def _as_werkzeug(app: Flask | None, error: Exception) -> Exception:
    """Starlette's HTTPException as the one that Flask would have raised; any other error as it is."""
    if not isinstance(error, StarletteHTTPException):
        return error
    status = error.status_code
    if app is not None and _has_no_page(status):
        return HTTPException(response=app.response_class(status=status, headers=error.headers))
    description = None if error.detail == _phrase(status) else error.detail
    if isinstance(error, InvalidRequest) and app is not None and not _has_handler(app, status):
        status = 400
    kind = default_exceptions.get(status)
    if kind is not None:
        told = kind(description=description)
        told.__cause__ = error.__cause__
        return told
    told = HTTPException(description or _phrase(status))
    told.code = status
    return told


def _has_handler(app: Flask, status: int) -> bool:
    """Whether the app, or the blueprint that the request belongs to, has an error handler for just this status."""
    return any(app.error_handler_spec.get(name, {}).get(status) for name in (None, *flask_request.blueprints))


def _has_no_page(status: int) -> bool:
    return status < 400


def _html(response: FlaskResponse) -> bool:
    return (
        response.status_code >= 400
        and response.mimetype == "text/html"
        and not response.direct_passthrough
        and "Content-Encoding" not in response.headers
    )


def _prefers_json(accept: MIMEAccept) -> bool:
    return bool(accept["application/json"] > accept["text/html"])


def _shape(status: int, error: Exception) -> bytes:
    told = _as_werkzeug(None, error)
    said = told.description if isinstance(told, HTTPException) and status < 500 else None
    return bytes(error_response(status, str(said or _phrase(status)), code=_code(status)).body)


def _code(status: int) -> str:
    return _phrase(status).lower().replace(" ", "_").replace("-", "_").replace("'", "")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in _STATUSES else "Error"


_STATUSES = frozenset(HTTPStatus)
