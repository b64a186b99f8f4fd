"""The access record: the id and the clock of one request, what every response bears, and one log line and one count."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache
from time import perf_counter
from typing import Any, Protocol

from werkzeug.routing import Rule

from graft.connection.file_transfer import SendFile, file_sender
from graft.figures.recorder import RECORDER
from graft.flaskside.rules import host_of, template
from graft.observe import paths, requestid
from graft.observe.access_log import ACCESS_LOG, log
from graft.observe.paths import UNMATCHED
from graft.request_record import KEY, RequestRecord
from graft.tasks.commits import pending, send_when_written
from graft.types import WEBSOCKET, Message, RouteKey, Scope, Send, Side

CLIENT_LEFT = 499
"""What Nginx calls a request whose client left before the answer: nobody's error, and a class of its own."""

UserOf = Callable[[Scope], str | None]
"""Tells who is logged in, for a finished request."""


class Stamped(Protocol):
    """The connection's way to answer. ``stamp``: lines that go behind the app's own headers."""

    stamp: bytes


class AccessRecord:
    """One HTTP request, from when it comes in until ``close``. Used on the event loop.

    ``send`` stands in for the server's: the response gets ``X-Request-ID`` and ``X-Served-By`` on its way out. Where
    the app has written an ``X-Request-ID`` of its own, that one stays, and is the one in the log line: it is what the
    client and the app's own log and pages know the request by.
    ``status`` is 0 until it has begun. ``request`` is what the rooms below know of the request. ``enter`` is for the
    ContextVars of whatever serves it.
    """

    status = 0
    answered_at: float | None = None  # where that is not the end of it

    def __init__(self, scope: Scope, send: Send, has_id: bool = True, stamped: Stamped | None = None) -> None:
        """``has_id``: may the request have brought an id? ``stamped`` writes our headers by itself."""
        self._started = perf_counter()
        self.scope = scope
        self._send = send
        self._stamped = stamped
        self._answered_id: str | None = None  # where the app has written one of its own into its answer
        self._request_id = requestid.take(scope["headers"]) if has_id else requestid.make()
        scope.setdefault("state", {})["request_id"] = self._request_id
        self.request = RequestRecord()
        outer: RequestRecord | None = scope.get(KEY)  # where a whole gateway is mounted in another
        self.request.file_way = send
        if outer is not None:
            self.request.is_mirrored = outer.is_mirrored
        scope[KEY] = self.request

    def enter(self) -> None:
        """From here on the code that runs, and what copies its ContextVars, serves this request."""
        requestid.current.set(self._request_id)
        paths.begin(self.scope)

    @property
    def may_send(self) -> bool:
        """Whether what is sent now leaves now: nothing that it may tell of is still to be written to the disk."""
        return not pending or self._request_id not in pending

    def head(self, message: Message) -> Message:
        """The head of the response, from now on begun, with our headers."""
        self.status = message["status"]
        headers = message.get("headers", ())
        stamped = self._stamped
        if stamped is not None and headers.__class__ is list:
            for name, _ in headers:
                if name in _OURS:
                    break
            else:
                stamped.stamp = b"\r\n%b: %b%b" % (
                    requestid.HEADER,
                    self._request_id.encode("ascii"),
                    _LINES[self.request.side],
                )
                return message
        message["headers"] = self.headers(headers)
        return message

    def send(self, message: Message) -> Any:
        """No coroutine of its own: it hands the server's on, one frame less a message."""
        if not self.status and message["type"] == "http.response.start":
            self.head(message)
        if pending and self._request_id in pending:
            return send_when_written(self._request_id, self._send, message)
        return self._send(message)

    @property
    def send_file(self) -> SendFile | None:
        """The server's. The head has passed ``send`` before, and has waited for what had to be written."""
        return file_sender(self._send)

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Those of a response, with ours."""
        if not isinstance(headers, (list, tuple)):  # ASGI allows an iterator, which can be read once
            headers = list(headers)
        for name, _ in headers:
            if name in _OURS:
                headers = [pair for pair in headers if pair[0] != _SERVED]
                if any(name == requestid.HEADER for name, _ in headers):
                    self._answered_id = requestid.sent(headers)
                    return [*headers, _SERVED_BY[self.request.side]]
                break
        request_id = (requestid.HEADER, self._request_id.encode("ascii"))
        return [*headers, request_id, _SERVED_BY[self.request.side]]

    def close(self, user_of: UserOf | None) -> None:
        """Count and log the request, answered or not."""
        now = perf_counter()
        request, scope, status = self.request, self.scope, self.status
        request.file_way = None  # it has the scope, and the scope has the record: that is a cycle
        method: str = scope.get("method", WEBSOCKET)
        side, route = request.side, request.route
        if route is None:
            route = request.route = _legacy_route(request.legacy_rule, method)
        if not status and request.client_left:
            self.status = status = CLIENT_LEFT
        RECORDER.answered(route, side, status or 500, (self.answered_at or now) - self._started)
        if request.work is not None and side is not Side.NATIVE:
            RECORDER.worked(route, request.work)
        if log.isEnabledFor(logging.INFO):
            user = user_of(scope) if user_of is not None else None
            client = scope.get("client")
            ACCESS_LOG.write(
                self._answered_id or self._request_id,
                method,
                paths.in_access_line(scope, route),
                status,
                side,
                route,
                now - self._started,
                client[0] if client else None,
                paths.without_path(user, route) if user is not None else None,
            )


def _legacy_route(rule: Rule | None, method: str) -> str:
    """The Flask rule that answered, as the mount noted it; other WSGI apps have none."""
    if rule is None:
        return UNMATCHED
    if method == "HEAD" and "GET" in (rule.methods or ()):
        method = "GET"
    return _label(method, rule.rule, host_of(rule))


@cache
def _label(method: str, rule: str, host: str) -> str:
    """Flask refused all other methods before it got here, so this cache grows no further than the url map."""
    return str(RouteKey(method, template(rule), host))


_SERVED = b"x-served-by"
_SERVED_BY = {side: (_SERVED, side.value.encode()) for side in Side}
_LINES = {side: b"\r\n%b: %b" % pair for side, pair in _SERVED_BY.items()}
_OURS = frozenset({requestid.HEADER, _SERVED})
