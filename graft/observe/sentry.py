"""Sentry's SDK, where the app uses it: each request is reported once, as under a WSGI server.

The SDK stands around every Starlette app and every Flask app of a process that calls ``sentry_sdk.init``. A request
that the Flask app answers passes both: without this it is two transactions and three sessions. Here the outer ones are
given up as soon as the Flask app has the request, so that what Sentry gets is what it gets under Gunicorn. A request
that the Flask app never sees (a native route, 503 for a full queue) keeps those of Starlette. What mirrored work
reports is marked, and is a warning: no user has met it.

Nothing of this is on a request's way where nobody has imported the SDK, and Graft never imports it. Private parts, read
in sentry-sdk 2.75: ``Scope._session``, and where spans are sent as a stream, two of ``StreamedSpan``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from graft.mirroring.fence import mirrored_run
from graft.request_record import is_mirrored
from graft.types import MIRRORED

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

log = logging.getLogger("graft")

_REPORTED = "_graft_was_reported"


def reported_once(app: Any) -> Any:
    """The WSGI app ``app`` as the mount is to call it: itself where Sentry's SDK is not imported. (at start)"""
    sdk: Any = sys.modules.get("sentry_sdk")
    if sdk is None or isinstance(app, ReportedByTheApp):
        return app
    if not hasattr(sdk, "get_isolation_scope"):
        log.warning("sentry-sdk before 2.0 counts each request of the Flask app twice; install 2.0 or later")
        return app
    for processor in (_once, _marked):
        sdk.get_global_scope().add_event_processor(processor)
    return ReportedByTheApp(app, sdk)


class ReportedByTheApp:
    """``app`` without what Sentry has begun for the same request around Starlette. (worker threads)

    The thread has a copy of the request's ContextVars, with the very scope and transaction that the loop ends after
    the answer, which is when it reads what is written here. Where the loop did not wait until this thread began (a
    timeout in the queue, a client who left) they are sent, and that was all of the request.
    """

    def __init__(self, app: WSGIApp, sdk: Any) -> None:
        self.app = app
        self._sdk = sdk

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        sdk = self._sdk
        scope = sdk.get_isolation_scope()
        current = sdk.get_current_scope()
        if getattr(current, "streamed_span", None) is not None:  # trace_lifecycle="stream"
            _give_up_streamed(current.streamed_span)
        elif current.transaction is not None and str(current.transaction.origin).startswith("auto."):
            current.transaction.sampled = False  # it is not sent
        if getattr(scope, "_session", None) is not None:
            scope._session = None  # end_session() would count it
        if not is_mirrored(environ.get("asgi.scope") or {}):
            return self.app(environ, start_response)
        # A mirrored run is no request of a user's: it counts neither as a transaction nor as a session.
        with sdk.isolation_scope() as scope:
            scope.stop_auto_session_tracking()
            scope.add_event_processor(_no_transaction)
            if hasattr(scope, "set_attribute"):  # what is streamed passes no processor
                scope.set_attribute(MIRRORED, True)
            return self.app(environ, start_response)


def _give_up_streamed(span: Any) -> None:
    """A span that is over already is not sent when its block ends. One that is not sampled never is."""
    if span.sampled and str(span.get_attributes().get("sentry.origin")).startswith("auto."):
        profile = getattr(span, "_continuous_profile", None)
        if profile is not None:
            profile.stop()
        span._end_timestamp = span.start_timestamp


def _no_transaction(event: Any, hint: Any) -> Any:
    return None if event.get("type") == "transaction" else event


def _marked(event: Any, hint: Any) -> Any:
    """An event processor for the whole process. It runs where an event is captured, in the ContextVars of that work."""
    if mirrored_run() is not None:
        event["tags"] = {**(event.get("tags") or {}), MIRRORED: "true"}
        if event.get("level") in ("error", "fatal"):
            event["level"] = "warning"
    return event


def _once(event: Any, hint: Any) -> Any:
    """An event processor for the whole process: drops what a logger of Graft's says of an exception that was reported.

    A native route's exception is handled by the Flask app, in a thread, where the SDK reports it; then the front door
    logs it on the loop. The SDK's own look for repetitions goes by ContextVars, and does not see across that.
    """
    info = hint.get("exc_info") if hint else None
    error = info[1] if isinstance(info, tuple) else None
    if error is None:
        return event
    reported_as = getattr(error, _REPORTED, None)
    if reported_as is None:
        with suppress(AttributeError):  # a class of the app's that takes no attributes
            setattr(error, _REPORTED, event.get("event_id"))
    elif reported_as != event.get("event_id"):  # the same where this was registered twice
        is_ours = str(event.get("logger") or "").partition(".")[0] == "graft"
        return None if is_ours else event
    return event
