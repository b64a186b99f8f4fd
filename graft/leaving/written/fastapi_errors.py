"""FastAPI's own answers to errors, left to the site's error pages: for operations that had ``errors = "legacy"``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.leaving.written.errors import InvalidRequest

ASIDE = "errors_aside"
"""In the scope: the list that takes the error; where it is not, FastAPI answers."""

_Handler = Callable[[Request, Any], Awaitable[Response]]


def raising_errors(app: FastAPI) -> ASGIApp:
    """``app``, which raises what its default handlers would answer; its own handlers go on to answer."""
    defaults: tuple[tuple[Any, Any], ...] = (
        (HTTPException, http_exception_handler),
        (RequestValidationError, request_validation_exception_handler),
    )
    for kind, default in defaults:
        if app.exception_handlers.get(kind) is default:
            app.exception_handlers[kind] = _setting_aside(cast(_Handler, default))

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        aside: list[Exception] = []

        async def send_no_error(message: Message) -> None:
            if not aside:
                await send(message)

        await app({**scope, ASIDE: aside}, receive, send_no_error)
        if aside:
            error = aside[0]
            raise (_as_flask_says_it(error) if isinstance(error, RequestValidationError) else error)

    return call


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
    told = HTTPException(404) if in_path else InvalidRequest()
    told.__cause__ = error
    return told
