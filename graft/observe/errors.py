"""The one JSON shape in which Graft tells an error: ``{"error": {"code", "message", "request_id"}}``."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse

from graft.observe import requestid


def error_response(
    status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A response in the error shape. ``code`` is for programs (``snake_case``); by default the name of the status."""
    code = code or HTTPStatus(status).name.lower()
    body = {"error": {"code": code, "message": message, "request_id": requestid.current.get()}}
    return JSONResponse(body, status, headers=headers)
