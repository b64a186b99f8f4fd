"""Bodies of requests that native routes answer: within the limits of the mount, and there for legacy code as well."""

from __future__ import annotations

from collections.abc import Awaitable

from graft.bridge.body_headers import BodyHeaders, body_headers
from graft.bridge.limits import Limits
from graft.bridge.refused import Refused
from graft.bridge.request_body import RequestBody
from graft.request_record import RequestRecord
from graft.types import ASGIApp, Receive, Scope, Send


class NativeBodies:
    """Pure ASGI middleware around one native route, on the loop: a request that may have a body gets a RequestBody,
    ``RequestRecord.body``. A declared length above ``limits.max_body`` bytes is answered 413.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self._limits = limits

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """No coroutine of its own where there is no body: it is on every path."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        try:
            headers = body_headers(scope, self._limits.max_body)
        except Refused as refused:
            return refused.answer(scope, receive, send)
        if headers is None:
            return self.app(scope, receive, send)
        return self._call_with_body(headers, scope, receive, send)

    async def _call_with_body(self, headers: BodyHeaders, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits
        body = RequestBody(
            receive,
            length=headers.length,
            limit=limits.max_body,
            stall_timeout=limits.stall_timeout,
            keep=True,
            client_waits=headers.waits,
        )
        record = RequestRecord.of(scope)
        record.body = body
        try:
            await self.app(scope, body.receive, send)
        finally:
            record.body = None
            body.close()
