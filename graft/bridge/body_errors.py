"""How a request body may end other than by its end, as code that reads it sees it.

Flask answers the HTTPExceptions among them in its own words and without a traceback; other WSGI apps see an OSError.
"""

from __future__ import annotations

from werkzeug.exceptions import BadRequest, ClientDisconnected, RequestEntityTooLarge, RequestTimeout

from graft.errors import GraftError


class ClientGone(ClientDisconnected, ConnectionResetError):
    """The client left before its body was complete, or nobody waits for the answer any more."""


class ClientStalled(RequestTimeout, TimeoutError):
    """The client sent nothing of its body for longer than the stall timeout."""


class BodyTooLarge(RequestEntityTooLarge, OSError):
    """The body grew past GRAFT_MAX_BODY."""


class BodyIncomplete(BadRequest, OSError):
    """The body ended before its Content-Length."""

    description = "The body is shorter than its Content-Length."


class BodyDropped(BadRequest, OSError):
    """The view streamed its answer and left the body unread for too long, so the rest was thrown away."""


class BodyNotKept(GraftError, RuntimeError):
    """The native route has streamed a body that is too large to be kept for legacy code after it."""


class BodyNotReceived(GraftError, RuntimeError):
    """Code on the event loop would have to wait for a body that the same loop has yet to receive."""
