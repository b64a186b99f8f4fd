"""FastAPI's own answers to errors, left to the Flask app where a switch says ``errors = "legacy"``. (event loop)

FastAPI answers inside the app, so its handlers put the error aside, and it is raised when the app is through. Handlers
that the app has registered itself are left alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from graft.flaskside.error_pages import InvalidRequest
from graft.frameworks.errors_aside import ASIDE, raised
from graft.request_record import RequestRecord
from graft.types import ASGIApp, Receive, Scope, Send

_Handler = Callable[[Request, Any], Awaitable[Response]]


def raising_errors(app: FastAPI) -> ASGIApp:
    """``app``, which raises what its default handlers would answer, in requests whose record asks for it."""
    defaults: tuple[tuple[Any, Any], ...] = (
        (HTTPException, http_exception_handler),
        (RequestValidationError, request_validation_exception_handler),
    )
    for kind, default in defaults:
        if app.exception_handlers.get(kind) is default:
            app.exception_handlers[kind] = _setting_aside(cast(_Handler, default))

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and RequestRecord.of(scope).legacy_errors:
            return _raise(app, scope, receive, send)
        return app(scope, receive, send)

    return call


async def _raise(app: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await raised(app, scope, receive, send)
    except RequestValidationError as error:
        raise _as_flask_says_it(error) from error


def _setting_aside(default: _Handler) -> _Handler:
    async def handle(request: Request, error: Exception) -> Response:
        aside: list[Exception] | None = request.scope.get(ASIDE)
        if aside is None:
            return await default(request, error)
        aside.append(error)
        return Response(status_code=getattr(error, "status_code", 422))  # for the app's middleware; nobody gets it

    return handle


def _as_flask_says_it(error: RequestValidationError) -> Exception:
    """A path that a Flask converter refuses is 404 there; other input that does not validate is the client's error."""
    in_path = any(each.get("loc", ("",))[0] == "path" for each in error.errors())
    return HTTPException(404) if in_path else InvalidRequest()
