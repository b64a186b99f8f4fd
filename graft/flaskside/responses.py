"""Between ASGI's response messages and the Flask app's response objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from flask import Flask
from flask import Response as FlaskResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as WerkzeugResponse

from graft.bridge.response_head import parse_status
from graft.request_record import RequestRecord
from graft.types import Message, Receive, Scope, Send

T = TypeVar("T")
RawHeaders = list[tuple[bytes, bytes]]


def flask_response(app: Flask, status: int, raw: Iterable[tuple[bytes, bytes]]) -> FlaskResponse:
    """A response of the app's own class with exactly this status and these headers, and no body yet."""
    response = app.response_class()
    response.headers = Headers([(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in raw])
    response.status_code = status
    return response


def start_message(status: int, headers: RawHeaders, reason: bytes | None) -> Message:
    """``reason`` is a phrase of the app's own, which Graft's connection sends; other servers send the standard one."""
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    if reason is not None:
        start["reason"] = reason
    return start


def raw_headers(headers: Headers) -> RawHeaders:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def starlette_response(answer: Any, scope: Scope) -> Response:
    """What a native route returned that is no ASGI response, as one: a response of Flask's.

    Raises TypeError for anything else, as text or a dict, which Flask would take.
    """
    if isinstance(answer, WerkzeugResponse):
        return CopiedResponse(answer, {"REQUEST_METHOD": scope["method"]}) if answer.is_sequence else Streamed(answer)
    raise TypeError(
        f"a native route returned {type(answer).__name__}, which is no response: return one of Starlette's, as in "
        f"JSONResponse(...) or PlainTextResponse(...), or one of Flask's"
    )


class Streamed(Response):
    """A response of Flask's whose body is made while it is sent, part by part. A part may block, and may take its time.

    Behind the app's hooks each part is made in their context and thread, which last to the end of the body. Without
    hooks it is made in any thread. In both all of them are in one ``contextvars.Context``, as ``stream_with_context``
    sets there at the beginning what it takes back at the end.
    """

    def __init__(self, answer: WerkzeugResponse) -> None:
        self._answer = answer
        self.background = None
        self.status_code, self._reason = parse_status(answer.status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        environ = {"REQUEST_METHOD": scope["method"]}
        context = RequestRecord.of(scope).flask_context
        if context is not None and context.open:
            context.for_stream = True
        run = _runner(scope, copy_context())
        headers = raw_headers(self._answer.get_wsgi_headers(environ))
        parts = iter(self._answer.get_app_iter(environ))
        try:
            await send(start_message(self.status_code, headers, self._reason))
            while (part := await run(partial(next, parts, None))) is not None:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            await run(self._answer.close)
        await send({"type": "http.response.body", "body": b""})


def _runner(scope: Scope, variables: Context) -> Callable[[Callable[[], T]], Awaitable[T]]:
    """What calls a function in the context that the hooks have open, else in any thread and in ``variables``."""

    async def run(fn: Callable[[], T]) -> T:
        context = RequestRecord.of(scope).flask_context
        if context is not None and context.open:
            made: T = await context.run(fn, "the stream of a response of Flask's", timed=False)
            return made
        return await run_in_threadpool(variables.run, fn)

    return run


class CopiedResponse(Response):
    """A Flask response as a Starlette one: the same status with its reason phrase, body and headers, in order, repeated
    ones included."""

    def __init__(self, response: WerkzeugResponse, environ: dict[str, Any], body: bytes | None = None) -> None:
        """``body`` is what was read of ``response`` already; else it is read here, to its end."""
        self.background = None
        self.status_code, self.reason = parse_status(response.status)
        self.body = body_of(response) if body is None else body
        self.raw_headers = raw_headers(response.get_wsgi_headers(environ))
        if environ.get("REQUEST_METHOD") == "HEAD" or self.status_code in (204, 304) or self.status_code < 200:
            self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_reason(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "reason": self.reason}
            await send(message)

        await super().__call__(scope, receive, send if self.reason is None else send_with_reason)


def body_of(response: WerkzeugResponse) -> bytes:
    """The whole body, also of a streamed one; the response is closed."""
    response.direct_passthrough = False
    try:
        return response.get_data()
    finally:
        response.close()
