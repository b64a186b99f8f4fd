"""What the legacy side itself answers: full, too slow, too large, broken. JSON, or a small page for a browser."""

from __future__ import annotations

import html
import json

from starlette.responses import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from graft.types import Receive, Scope, Send


async def refuse(
    scope: Scope, send: Send, status: int, code: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Answer ``{"error": {"code", "message", "request_id"}}``, or the message as a page when HTML is preferred."""
    request_id = (scope.get("state") or {}).get("request_id")
    if _prefers_html(scope):
        content_type, body = b"text/html; charset=utf-8", _page(status, message, request_id)
    else:
        error = {"code": code, "message": message, "request_id": request_id}
        content_type, body = b"application/json", json.dumps({"error": error})
    content = body.encode()
    length = b"%d" % len(content)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), (b"content-length", length), *headers],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


class Refusal(Response):
    """``refuse`` for an exception handler."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status_code=status)
        self._told = (status, code, message)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, send, *self._told)


def _prefers_html(scope: Scope) -> bool:
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    if "text/html" not in accept:
        return False
    return parse_accept_header(accept, MIMEAccept).best_match(["application/json", "text/html"]) == "text/html"


def _page(status: int, message: str, request_id: str | None) -> str:
    line = f"<p><small>Request {html.escape(request_id)}</small></p>" if request_id else ""
    return f"<!doctype html><title>{status}</title><h1>{status}</h1><p>{html.escape(message)}</p>{line}\n"
