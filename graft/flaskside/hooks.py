"""The Flask app's ``before_request``, ``after_request`` and teardown functions around a native route, in Flask's order.

An app that guards everything in ``before_request`` guards its native routes too. The functions run in the legacy
threads, in one request context: request and matched rule, ``g``, session and user are those of the whole request.

What ``after_request`` functions can change: status and headers always. The body where the native route gives it whole
(as every Starlette response but a streamed one does); they may also put another response in its place. A streamed body
goes on as it is: functions see ``response.is_streamed`` and ``direct_passthrough``, as with Flask's own file responses,
and headers that describe a rewritten body (``Content-Encoding`` and such) are taken back. Teardown functions run before
a streamed body begins, as Flask's own do before a generator's; see ``stream_visit.py`` for one that calls the app.

Around a WebSocket it is the handshake that they see: ``before_request`` functions may refuse it, the teardown functions
run before the conversation begins, and ``after_request`` functions see what a refusal says, and no acceptance.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from flask import Flask
from flask import Response as FlaskResponse
from flask.sessions import SessionMixin
from flask.signals import request_finished, request_started
from starlette.requests import ClientDisconnect
from werkzeug.datastructures import Headers
from werkzeug.routing import Rule

from graft.bridge.body_store import BLOCK
from graft.bridge.request_body import RequestBody
from graft.bridge.response_head import parse_status
from graft.bridge.websocket import handshake_request, send_answer
from graft.flaskside import error_pages
from graft.flaskside.flask_private import private
from graft.flaskside.lazy_session import add_mark_accessed
from graft.flaskside.request_context import NativeRequestContext
from graft.flaskside.responses import CopiedResponse, flask_response, raw_headers, start_message
from graft.flaskside.sessions import take_assigned
from graft.flaskside.stream_visit import StreamVisit
from graft.request_record import RequestRecord
from graft.routing.starlette_private import HANDLERS_KEY
from graft.threads.executor import LegacyExecutor
from graft.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("graft.legacy")


def wrap(
    native: ASGIApp,
    app: Flask,
    threads: LegacyExecutor,
    *,
    rules: Sequence[Rule] = (),
    enabled: bool = True,
    prefix: str = "",
) -> ASGIApp:
    """``native`` behind the app's hooks; ``native`` itself where they are not ``enabled`` or the app has none for it.

    ``rules`` is the Flask rule that the route twins, or all beneath a mount; none for a native-only route: its hooks
    see a rule and an endpoint of its own, as checks let pass what has none. ``prefix`` is where the app is mounted.
    """
    if not enabled or not has_hooks(app, *rules):
        return native
    return _Hooked(native, app, threads, prefix)


def has_hooks(app: Flask, *rules: Rule) -> bool:
    """Whether any function of the app, or of a blueprint that one of ``rules`` belongs to, would run around a route."""
    names = {None, *(name for rule in rules for name in _blueprints(rule.endpoint))}
    registered = (
        app.url_value_preprocessors,
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
    )
    return any(functions.get(name) for functions in registered for name in names) or any(
        getattr(type(app), method) is not getattr(Flask, method) for method in _OVERRIDABLE
    )


class _Hooked:
    def __init__(self, native: ASGIApp, app: Flask, threads: LegacyExecutor, prefix: str) -> None:
        self.native = native
        self.app = app
        self.threads = threads
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._guard_handshake(scope, receive, send)
        scope.pop(HANDLERS_KEY, None)  # what the route raises is told here, where the hooks' request context is
        body = RequestRecord.of(scope).body
        if body is not None:
            await _load_beginning(body)
        await self._dispatch(self._context(scope), scope, receive, send)

    def _context(self, scope: Scope, session: SessionMixin | None = None) -> NativeRequestContext:
        body = RequestRecord.of(scope).body
        file = io.BytesIO() if body is None else body.open()
        return NativeRequestContext(self.app, self.threads, scope, file, self.prefix, session)

    async def _guard_handshake(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Who may not in gets the app's answer, as from a WebSocket of its own. The context ends with that: no
        conversation keeps a thread."""
        handshake = handshake_request(scope)
        context = NativeRequestContext(self.app, self.threads, handshake, io.BytesIO(), self.prefix)
        answer = await _begin(context)
        await context.end()
        if answer is None:
            return await self.native(scope, receive, send)
        await receive()
        await answer(handshake, receive, partial(send_answer, scope, send))

    async def _dispatch(self, context: NativeRequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        record = RequestRecord.of(scope)
        visit = StreamVisit(self.threads, partial(self._begin_in_stream, scope))
        exchange = _Exchange(context, scope, send, visit)
        answer = await _begin(context)
        try:
            scope["session"] = context.session
            if answer is not None:
                return await answer(scope, receive, send)
            record.flask_context = context
            await self.native(scope, receive, exchange.send)
        except Exception as error:
            if exchange.is_processed or not context.open or _is_handled_outside(scope, self.app, error):
                await exchange.end(error)
                raise
            take_assigned(context.session, scope["session"])
            answer = await context.run(partial(_handle_error, context, error), "the error handlers")
            await answer(scope, receive, send)
        finally:
            await exchange.end()

    async def _begin_in_stream(self, scope: Scope) -> NativeRequestContext:
        context = self._context(scope, scope["session"])
        answer = await _begin(context)
        if answer is not None:
            raise RuntimeError(
                f"legacy.run in the stream of {scope['method']} {scope['path']!r}: this time the before_request "
                f"functions answered {answer.status_code}; legacy.stream_with_context keeps the one context of the "
                "request"
            )
        return context


async def _begin(context: NativeRequestContext) -> CopiedResponse | None:
    """A response, if the app answers by itself. What the hooks raise ends the context."""
    try:
        return await context.begin(partial(_before, context))
    except Exception as error:
        await context.end(error)
        raise


async def _load_beginning(body: RequestBody) -> None:
    """Before a thread is asked for: so it seldom waits for a client. From now on the client must not stall.

    Not of a body whose client may wait, for the end of our answer or to be told to send it.
    """
    body.receive_timeout = body.stall_timeout
    if body.length is not None and not body.client_waits:
        await body.load(min(body.length, BLOCK))


class _Exchange:
    """The response of one native route on its way out. The hooks see it once, before its first byte leaves."""

    def __init__(self, context: NativeRequestContext, scope: Scope, send: Send, visit: StreamVisit) -> None:
        self.is_processed = False
        self._record = RequestRecord.of(scope)
        self._visit = visit  # of the body, if that is streamed
        self._context = context
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._complete = False

    async def send(self, message: Message) -> None:
        if self._complete:
            return
        if message["type"] == "http.response.start":
            self._start = message
            if _has_whole_body(message):
                return
            await self._process(None)
        elif self._start is not None and not self.is_processed:
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            await self._process(message.get("body", b"") if whole else None)
            if whole:
                return
        if self._complete:
            return
        if message["type"] != "http.response.start":
            if not message.get("more_body", False):
                await self.end()
            await self._send(message)

    async def end(self, error: BaseException | None = None) -> None:
        """Tear down what is left of the context and of the stream's; what comes now has contexts of its own."""
        self._record.stream_visit = self._record.flask_context = None
        await self._visit.end(error)
        await self._context.end(error)

    async def _process(self, body: bytes | None) -> None:
        """Let the hooks see the response, send its start, and its body where that is known as a whole."""
        assert self._start is not None
        self.is_processed = True
        take_assigned(self._context.session, self._scope["session"])
        keeps = body is None and self._context.for_stream and self._visit.keep(self._context)
        start, body = await self._context.run(
            partial(_after, self._context, self._start, body, keeps), "the after_request functions"
        )
        if body is None:
            self._record.stream_visit = self._visit
        without_reason = {key: value for key, value in self._start.items() if key != "reason"}
        await self._send({**without_reason, **start})
        if body is not None:
            self._complete = True
            await self._send({"type": "http.response.body", "body": body})


def _is_handled_outside(scope: Scope, app: Flask, error: Exception) -> bool:
    """Whether someone further out has an answer of its own to ``error``, a crash of the native route being none.

    A crash is told by the Flask app, here, where its error page finds ``g`` and the user as they were.
    """
    if isinstance(error, ClientDisconnect):
        return True
    if error_pages.is_expected(app, error):
        return False
    handlers = getattr(scope.get("app"), "exception_handlers", {})
    return any(kind in handlers for kind in type(error).__mro__ if kind is not Exception)


def _before(context: NativeRequestContext) -> CopiedResponse | None:
    """What Flask does before a view. A response, if the app answers by itself: the context is torn down then.

    (worker thread)"""
    app = context.app
    add_mark_accessed(context.session)
    private.mark_first_request(app)
    try:
        request_started.send(app, _async_wrapper=app.ensure_sync)
        answer = private.preprocess(app)
        if answer is None:
            return None
        response = private.finalize(app, answer)
    except Exception as error:
        return _handle_error(context, error)
    return _finish(context, response)


def _handle_error(context: NativeRequestContext, error: Exception) -> CopiedResponse:
    """What Flask does with an exception, and the teardown of the context. (worker thread)"""
    try:
        response, not_taken = error_pages.handle_error(context.app, error)
    except Exception as unhandled:
        context.pop(unhandled)
        raise
    return _finish(context, response, not_taken)


def _finish(context: NativeRequestContext, response: FlaskResponse, error: Exception | None = None) -> CopiedResponse:
    context.pop(error)
    return CopiedResponse(response, context.environ)


def _after(
    context: NativeRequestContext, start: Message, body: bytes | None, keeps: bool
) -> tuple[Message, bytes | None]:
    """What Flask does after a view: the response's start, and its body unless the native one is to be streamed. The
    context ends, unless the stream ``keeps`` it.

    (worker thread)"""
    ours = _as_flask(context.app, start, body)
    stream = ours.response if body is None else None
    original, status = Headers(ours.headers), ours.status
    error = None
    try:
        response = private.process_response(context.app, ours)
        request_finished.send(context.app, _async_wrapper=context.app.ensure_sync, response=response)
    except Exception as raised:
        error = raised
        response = private.handle_exception(context.app, raised)
    finally:
        if error is not None or not keeps:
            context.pop(error)
    # A status that nobody has changed keeps its phrase, where Werkzeug has words of its own for every one.
    reason = start.get("reason") if response.status == status else parse_status(response.status)[1]
    if response is ours and stream is not None and not response.is_sequence:
        if response.response is not stream:
            _restore_body_headers(response.headers, original)
        return start_message(response.status_code, raw_headers(response.headers), reason), None
    context.pop()
    answer = CopiedResponse(response, context.environ)
    return start_message(answer.status_code, answer.raw_headers, reason), bytes(answer.body)


def _as_flask(app: Flask, start: Message, body: bytes | None) -> FlaskResponse:
    response = flask_response(app, start["status"], start.get("headers", ()))
    if "reason" in start:
        response.status = f"{response.status_code} {start['reason'].decode('latin-1')}"
    if body is not None:
        length = response.headers.get("Content-Length")
        response.set_data(body)
        if length is None or not body:  # as the native route had it: none for 204, the would-be one for HEAD
            _put(response.headers, "Content-Length", length)
    else:
        response.response = _NativeStream()
        response.direct_passthrough = True
    return response


class _NativeStream(Iterable[bytes]):
    """Stands for a body that the native route will stream; to read it here would hold a thread for as long."""

    def __iter__(self) -> Iterator[bytes]:
        raise RuntimeError(
            "an after_request function read the body of a streamed native response; it may change status and headers"
        )
        yield b""  # what makes this a generator: to wrap the body is no error yet


def _restore_body_headers(headers: Headers, original: Headers) -> None:
    log.warning("an after_request function rewrote the body of a streamed native response: the body stays as it was")
    for name in _OF_THE_BODY:
        _put(headers, name, original.get(name))


def _put(headers: Headers, name: str, value: str | None) -> None:
    if value is None:
        headers.remove(name)
    else:
        headers[name] = value


def _has_whole_body(start: Message) -> bool:
    """Starlette tells the length of all responses but streamed ones; then the body is waited for."""
    return start["status"] in (204, 304) or any(
        name.lower() == b"content-length" for name, _ in start.get("headers", ())
    )


def _blueprints(endpoint: str) -> list[str]:
    """``a.b.view`` -> ``a.b``, ``a``."""
    names = []
    while "." in endpoint:
        endpoint = endpoint.rpartition(".")[0]
        names.append(endpoint)
    return names


_OVERRIDABLE = ("preprocess_request", "process_response", "do_teardown_request", "finalize_request")
_OF_THE_BODY = ("Content-Encoding", "Content-Length", "Content-Type", "Content-MD5", "ETag", "Content-Range")
