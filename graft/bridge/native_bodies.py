"""Bodies of requests that native routes answer: within the limits of the mount, and there for legacy code as well."""

from __future__ import annotations

from collections.abc import Awaitable

from graft.bridge.body_errors import BodyTooLarge
from graft.bridge.body_headers import BodyHeaders, body_headers
from graft.bridge.limits import Limits
from graft.bridge.refused import Refused, too_large
from graft.bridge.request_body import RequestBody
from graft.request_record import RequestRecord
from graft.types import ASGIApp, Message, Receive, Scope, Send


class NativeBodies:
    """Pure ASGI middleware around one native route, on the loop: a request that may have a body gets a RequestBody,
    ``RequestRecord.body``. A body above ``limits.max_body`` bytes is answered 413: at once where its length is
    declared, else when it gets there, also where the app has caught what its reading raised and answers 400 or 500.
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
        answer = too_large(limits.max_body).answer
        has_refused = False

        async def send_or_refuse(message: Message) -> None:
            nonlocal has_refused
            is_start = message["type"] == "http.response.start"
            if (
                is_start
                and isinstance(body.error, BodyTooLarge)
                and (message["status"] == 400 or message["status"] >= 500)
            ):
                has_refused = True
                await answer(scope, receive, send)
            elif not has_refused:
                await send(message)

        try:
            bounded = limits.max_body is not None and headers.length is None
            await self.app(scope, body.receive, send_or_refuse if bounded else send)
        except BodyTooLarge:
            if not has_refused:
                raise
        finally:
            record.body = None
            body.close()
