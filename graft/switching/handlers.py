"""Handlers: what the app has an exception handler for is an answer of the native side, not a failure.

``HTTPException`` and the exceptions of ``Starlette(exception_handlers=...)`` become their responses while the
switchboard still watches: so a 404 is not taken for a broken route, a 5xx out of a handler is, and mirrored answers are
whole.
"""

from __future__ import annotations

from typing import Any

from starlette.middleware.exceptions import ExceptionMiddleware

from graft.types import ASGIApp, Receive, Scope, Send

_RAISED = "graft.raised"


class Handlers:
    """The app's exception handlers, looked up when there is something to handle for the first time."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response that the app has for ``error``. Raises ``error`` again when it has none."""
        if self._app is None:
            self._app = _app(scope.get("app"))
        scope[_RAISED] = error
        await self._app(scope, receive, send)


def _app(starlette: Any) -> ASGIApp:
    """Of the app's handlers those for what is expected: the ones for 500 and Exception are for the rest."""
    handlers = getattr(starlette, "exception_handlers", {})
    return ExceptionMiddleware(_raise, {key: each for key, each in handlers.items() if key not in (500, Exception)})


async def _raise(scope: Scope, receive: Receive, send: Send) -> None:
    raise scope.pop(_RAISED)
