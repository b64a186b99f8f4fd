"""Error handlers: the answer that an app's exception handlers have to an exception, wherever that was caught.

``HTTPException`` and the exceptions of ``Starlette(exception_handlers=...)`` become their responses by Starlette's own
layers, around an app that raises the exception once more. The front door asks them for all that comes out of a route,
the switchboard while it still watches: so a 404 is not taken for a broken route, a 5xx out of a handler is, and
mirrored answers are whole.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from graft.request_record import RequestRecord
from graft.types import ASGIApp, Receive, Scope, Send


class ErrorHandlers:
    """The exception handlers of ``starlette``, by default of the app that a request came through, looked up at the
    first exception.

    Those for 500 and Exception are for what nobody expected: they are asked only with ``unexpected``.
    """

    def __init__(self, starlette: Any = None, *, unexpected: bool = False) -> None:
        self._starlette = starlette
        self._unexpected = unexpected
        self._app: ASGIApp | None = None

    def answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Send the response that the app has for ``error``. Raises ``error`` again when it was not expected."""
        if self._app is None:
            self._app = self._around(self._starlette or scope.get("app"))
        RequestRecord.of(scope).error = error
        return self._app(scope, receive, send)

    def _around(self, starlette: Any) -> ASGIApp:
        handlers, debug = getattr(starlette, "exception_handlers", {}), getattr(starlette, "debug", False)
        expected = {key: handler for key, handler in handlers.items() if key not in (500, Exception)}
        layers = ExceptionMiddleware(_raise, expected, debug)
        if not self._unexpected:
            return layers
        return ServerErrorMiddleware(layers, handlers.get(500) or handlers.get(Exception), debug)


async def _raise(scope: Scope, receive: Receive, send: Send) -> None:
    record = RequestRecord.of(scope)
    error, record.error = record.error, None
    assert error is not None
    raise error
