"""What Graft keeps about one request, in one typed record: ``scope["graft"]``.

The access record makes it, at the front door, before anything else sees the request. Its fields are set on the way down
and read on the way out.

**Copies.** A shallow copy of the scope, as mounted apps and middleware make them, shares the record: what Flask's side
says below a mount is seen at the front door. A mirrored run of the request gets a record of its own
(``RequestRecord.mirrored(side)``): nothing that it sets reaches the user's. A whole gateway that is mounted in another
makes one of its own too, in its own copy of the scope; that takes over one thing, that the run is a mirror's.

**Threads.** One request is in one place at a time: its record is written on the event loop, or in the worker thread
that the loop waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from graft.types import Scope, Send, Side

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from graft.bridge.request_body import RequestBody

KEY = "graft"

SESSION_NOT_SAVED = "not-saved-by-a-mirrored-run"
"""The value of a session's cookie where a mirrored run would have stored the session: it can't be compared."""


class Work(NamedTuple):
    """What a thread did while it served a request. In seconds."""

    wall: float
    cpu: float
    others: float
    """For so long at most it may have waited for its turn: processor time of the process's other threads, and what the
    system gave to other processes."""


class RequestRecord:
    """Mutable, one a request. See the module for who may share it."""

    # Defaults stand in the class: few requests set more than two of these.
    side: Side = Side.NATIVE
    """Who answers. Native until the front door gives the request to the legacy mount, or the switchboard decides;
    the native side sets ``FALLBACK`` when it gives up. ``X-Served-By`` and the figures are written from it."""
    is_mirrored = False
    """Whether this is the mirror's run of a request that is answered already: it must store nothing."""
    route: str | None = None
    """The name of the route, ``GET /path/{id:int}``. The router sets it when it has found one; for the legacy mount
    the access record does, when the answer is out."""
    legacy_rule: Rule | None = None
    """The rule of the Flask app that answered. The mount sets it when its worker thread is done."""
    accepted: float | None = None
    """When the handshake of a WebSocket was accepted, by ``time.perf_counter()``. Set by the front door, or by the
    legacy app's thread when it sends its first byte."""
    work: Work | None = None
    """What the Flask app's thread did, where this request is one of the sampled. Set by that thread."""
    user: str | None = None
    """The user id. Set by the Flask app's teardown (worker thread), where GRAFT_LOG_USER asks for it."""
    flask_context: Any = None
    """The Flask request context that hooks opened around a native route, while the route runs; else None."""
    stream_visit: Any = None
    """What begins a Flask request context for the body of a streamed native response, while that is sent; else None."""
    body: RequestBody | None = None
    """The request's body while a native route runs that may have one; hooks and ``legacy.run`` read it too."""
    client_left = False
    """Whether the client left before its answer began. The mount sets it, and the front door for native routes."""
    has_other_methods = False
    """Whether a native route has the path, but not the method. The router sets it while it looks."""
    file_way: Send | None = None
    """The server's own ``send``, as the front door has it: a file of a native route goes there at once, and what
    stands between sees no byte of it. None where somebody keeps the bytes, and in a mirrored run."""
    legacy_errors = False
    """Whether the Flask app tells the errors of the native route (``errors = "legacy"``). The switchboard sets it."""
    error: Exception | None = None
    """The exception that the app's handlers are being asked about, while they are."""

    @classmethod
    def of(cls, scope: Scope) -> RequestRecord:
        """The record of the request; a new one where nothing of Graft's has seen it before."""
        record: RequestRecord | None = scope.get(KEY)
        if record is None:
            record = scope[KEY] = cls()
        return record

    @classmethod
    def mirrored(cls, side: Side) -> RequestRecord:
        """For the mirror's run of a request on ``side``: nothing is taken over from the user's record."""
        record = cls()
        record.side, record.is_mirrored = side, True
        return record


def is_mirrored(scope: Scope) -> bool:
    """Whether ``scope`` is of a mirrored run. (any thread)"""
    record: RequestRecord | None = scope.get(KEY)
    return record is not None and record.is_mirrored
