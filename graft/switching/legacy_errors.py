"""``errors = "legacy"`` in a switch: the Flask app tells the errors of the native side."""

from __future__ import annotations

from collections.abc import Awaitable

from graft.request_record import RequestRecord
from graft.types import ASGIApp, Receive, Scope, Send


def with_legacy_errors(app: ASGIApp) -> ASGIApp:
    """``app``, told in the request's record to raise its expected errors, for who answers them as the Flask app does.

    (event loop)"""

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        RequestRecord.of(scope).legacy_errors = True
        return app(scope, receive, send)

    return call
