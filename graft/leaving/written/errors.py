"""Error pages in the site's plain style; JSON where the client prefers that."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException as WerkzeugError
from werkzeug.exceptions import InternalServerError, default_exceptions
from werkzeug.http import parse_accept_header


class InvalidRequest(HTTPException):
    """What a client sent does not validate: 422 where the app has a handler for that, else 400."""

    def __init__(self) -> None:
        super().__init__(422)


class NotRouted(HTTPException):
    """No route takes the path, or the method: always a page, as it was."""


async def error_page(request: Request, error: Exception) -> Response:
    """For ``Starlette(exception_handlers=...)``: of HTTPException, and of Exception for what nobody expected."""
    if isinstance(error, HTTPException) and error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    told = as_werkzeug(error)
    told = told if isinstance(told, WerkzeugError) else InternalServerError()
    status, headers = told.code or 500, dict(getattr(error, "headers", None) or {})
    if prefers_json(request) and not isinstance(error, NotRouted):
        return JSONResponse(shape(status, told, getattr(request.state, "request_id", None)), status, headers)
    return HTMLResponse(told.get_body(), status, headers)


def as_werkzeug(error: Exception) -> Exception:
    """Starlette's HTTPException as the one that Flask would have raised; any other error as it is."""
    if not isinstance(error, HTTPException):
        return error
    description = None if error.detail == phrase(error.status_code) else error.detail
    kind = default_exceptions.get(error.status_code)
    told = kind(description=description) if kind else WerkzeugError(description or phrase(error.status_code))
    told.code = error.status_code
    told.__cause__ = error.__cause__
    return told


def shape(status: int, error: Any, request_id: str | None) -> dict[str, Any]:
    """``{"error": {"code", "message", "request_id"}}``."""
    said = error.description if isinstance(error, WerkzeugError) and status < 500 else None
    code = phrase(status).lower().replace(" ", "_").replace("-", "_").replace("'", "")
    return {"error": {"code": code, "message": str(said or phrase(status)), "request_id": request_id}}


def prefers_json(request: Request) -> bool:
    accept = parse_accept_header(request.headers.get("accept"), MIMEAccept)
    return bool(accept["application/json"] > accept["text/html"])


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in frozenset(HTTPStatus) else "Error"
