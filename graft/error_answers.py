"""Errors that Graft itself answers: ``{"error": {"code", "message", "request_id"}}``, or a small page for a browser.

``error_response`` is always JSON, for interfaces that programs call. ``ErrorAnswer`` goes by the client's ``Accept``:
it is the page where HTML is preferred. Both are Starlette responses, and so ASGI apps: ``await answer(scope, receive,
send)`` sends one. Both may be made on the loop and in any thread that has the request's ContextVars.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from graft.observe import requestid
from graft.types import Message, Receive, Scope, Send


def error_response(
    status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The error as JSON. ``code`` is for programs (``snake_case``); by default the name of the status."""
    code = code or HTTPStatus(status).name.lower()
    return JSONResponse(_error(code, message, requestid.current.get()), status, headers=headers)


class ErrorAnswer(Response):
    """The error in the form that the client prefers. The request id is that of the scope it is sent to."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status_code=status, headers=headers)
        self.code = code
        self.message = message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = (scope.get("state") or {}).get("request_id") or requestid.current.get()
        if _prefers_html(scope):
            content_type, content = b"text/html; charset=utf-8", _page(self.status_code, self.message, request_id)
        else:
            content_type, content = b"application/json", json.dumps(_error(self.code, self.message, request_id))
        body = content.encode()
        headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        headers += [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        start: Message = {"type": "http.response.start", "status": self.status_code, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _error(code: str, message: str, request_id: str | None) -> dict[str, dict[str, str | None]]:
    return {"error": {"code": code, "message": message, "request_id": request_id}}


def _prefers_html(scope: Scope) -> bool:
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    if "text/html" not in accept:
        return False
    return parse_accept_header(accept, MIMEAccept).best_match(["application/json", "text/html"]) == "text/html"


def _page(status: int, message: str, request_id: str | None) -> str:
    line = f"<p><small>Request {html.escape(request_id)}</small></p>" if request_id else ""
    return f"<!doctype html><title>{status}</title><h1>{status}</h1><p>{html.escape(message)}</p>{line}\n"
