"""Between ASGI's response messages and the Flask app's response objects."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from flask import Flask
from flask import Response as FlaskResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as WerkzeugResponse

from graft.request_record import RequestRecord
from graft.types import Scope

RawHeaders = list[tuple[bytes, bytes]]


def flask_response(app: Flask, status: int, raw: Iterable[tuple[bytes, bytes]]) -> FlaskResponse:
    """A response of the app's own class with exactly this status and these headers, and no body yet."""
    response = app.response_class()
    response.headers = Headers([(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in raw])
    response.status_code = status
    return response


def raw_headers(headers: Headers) -> RawHeaders:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def starlette_response(answer: Any, scope: Scope) -> Response:
    """What a native route returned that is no ASGI response, as one: a response of Flask's is copied.

    A stream of Flask's is read to its end, behind the app's hooks in their context and thread, as it may use what they
    have there, and else in any thread. Raises TypeError for anything else, as text or a dict, which Flask would take.
    """
    if isinstance(answer, WerkzeugResponse):
        body = None if answer.is_sequence else await _read(answer, scope)
        return CopiedResponse(answer, {"REQUEST_METHOD": scope["method"]}, body)
    raise TypeError(
        f"a native route returned {type(answer).__name__}, which is no response: return one of Starlette's, as in "
        f"JSONResponse(...) or PlainTextResponse(...), or one of Flask's"
    )


async def _read(answer: WerkzeugResponse, scope: Scope) -> bytes:
    context = RequestRecord.of(scope).flask_context
    if context is None or not context.open:
        return await run_in_threadpool(body_of, answer)
    body: bytes = await context.run(partial(body_of, answer), "the body of a response of Flask's")
    return body


class CopiedResponse(Response):
    """A Flask response as a Starlette one: the same status, body and headers, in order, repeated ones included."""

    def __init__(self, response: WerkzeugResponse, environ: dict[str, Any], body: bytes | None = None) -> None:
        """``body`` is what was read of ``response`` already; else it is read here, to its end."""
        self.background = None
        self.status_code = response.status_code
        self.body = body_of(response) if body is None else body
        self.raw_headers = raw_headers(response.get_wsgi_headers(environ))
        if environ.get("REQUEST_METHOD") == "HEAD" or self.status_code in (204, 304) or self.status_code < 200:
            self.body = b""


def body_of(response: WerkzeugResponse) -> bytes:
    """The whole body, also of a streamed one; the response is closed."""
    response.direct_passthrough = False
    try:
        return response.get_data()
    finally:
        response.close()
