"""``request.session`` in a native route is the Flask app's session: the same cookie, read and written by the app's own
``session_interface``, and an object of its own session class.

Flask's signed-cookie sessions are opened at the first touch, on the loop: that is arithmetic. Any other interface may
block, and Starlette's ``request.session`` can't be awaited: such a session is opened and saved in the worker threads,
on every request, as Flask does.
"""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Awaitable
from functools import wraps
from typing import Any, cast

from flask import Flask
from flask import Response as FlaskResponse
from flask.globals import request as flask_request
from flask.json.provider import DefaultJSONProvider
from flask.sessions import (
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
    session_json_serializer,
)

from graft.flaskside.flask_private import private
from graft.flaskside.lazy_session import add_mark_accessed, is_open, lazy_class, make_lazy, open_lazy, open_session
from graft.flaskside.request_context import app_environ
from graft.flaskside.responses import RawHeaders, flask_response, raw_headers
from graft.request_record import SESSION_NOT_SAVED, is_mirrored
from graft.threads.executor import LegacyExecutor
from graft.types import ASGIApp, Message, Receive, Scope, Send


def wrap(native: ASGIApp, app: Flask, threads: LegacyExecutor, prefix: str = "") -> ASGIApp:
    """``native`` with Flask's session in ``scope["session"]``, saved when its response starts.

    ``prefix`` is where the Flask app is mounted. A session that is in the scope already is left to who put it there.
    """
    if is_signed_cookie(app.session_interface):
        return _CookieSessions(native, app)
    _skip_mirrored_saves(app.session_interface)
    return _StoredSessions(native, app, threads, prefix)


def is_signed_cookie(interface: SessionInterface) -> bool:
    """Whether ``interface`` is Flask's signed cookie, with no method replaced that might block or need a context."""
    if not isinstance(interface, SecureCookieSessionInterface):
        return False
    replaced = any(
        name in vars(interface) or getattr(type(interface), name) is not method
        for name, method in inspect.getmembers(SecureCookieSessionInterface, inspect.isfunction)
        if name != "digest_method"
    )
    return not replaced and issubclass(interface.session_class, SecureCookieSession)


def opened_session(scope: Scope) -> SessionMixin | None:
    """The session of this request if someone has touched it, else None. To ask is no touch."""
    session = scope.get("session")
    return cast(SessionMixin, session) if session is not None and is_open(session) else None


def save(app: Flask, session: SessionMixin, status: int, headers: RawHeaders) -> RawHeaders:
    """``headers`` of a response with this ``status``, and what the app's interface adds for ``session``.

    May block where the app's session interface does; ``app.json`` writes the session, as in a request of Flask's.
    """
    interface = app.session_interface
    if interface.is_null_session(session):
        return headers
    vary = [value for name, value in headers if name.lower() == b"vary"]
    response = flask_response(app, status, [(b"vary", b", ".join(vary))] if vary else [])
    with private.only_app(app):
        interface.save_session(app, session, response)
    added = raw_headers(response.headers)
    if any(name == b"vary" for name, _ in added):
        headers = [pair for pair in headers if pair[0].lower() != b"vary"]
    return [*headers, *added]


def take_assigned(session: SessionMixin, assigned: Any) -> SessionMixin:
    """``session``, with the content of the plain dict that was ``assigned`` to ``scope["session"]`` in its place.

    Anything else there is the session of some other middleware further in, which sees to it itself.
    """
    if type(assigned) is dict:
        session.clear()
        session.update(assigned)
    return session


class _CookieSessions:
    """Signed cookies, all on the loop. One object and one closure a request, no coroutine, no reference cycle: it is on
    the way of every native request."""

    def __init__(self, native: ASGIApp, app: Flask) -> None:
        self.native = native
        self.app = app
        self.lazy_class = lazy_class(app)
        self._refreshes = _Refreshes(app)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if "session" in scope:
            return self.native(scope, receive, send)
        lazy_class = self.lazy_class
        scope["session"] = session = make_lazy(lazy_class, scope["headers"])

        def save_and_send(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and (
                type(session) is not lazy_class
                or type(scope["session"]) is dict
                or self._refreshes.may_be_due(scope["headers"])
            ):
                message = self._saved(take_assigned(session, scope["session"]), message)
            return send(message)

        return self.native(scope, receive, save_and_send)

    def _saved(self, session: SessionMixin, start: Message) -> Message:
        open_lazy(session)
        return {**start, "headers": save(self.app, session, start["status"], list(start.get("headers", ())))}


class _Refreshes:
    """Finds the sessions whose cookie Flask sends anew with each response, though nobody touched them: permanent ones.

    A look at what the cookie says without its signature, in a microsecond: to open every session would cost as much as
    a small native route. Where the look can't tell, the session is opened and Flask's own interface decides.
    """

    def __init__(self, app: Flask) -> None:
        self._config = app.config
        interface = cast(SecureCookieSessionInterface, app.session_interface)
        self._readable = (
            interface.serializer is session_json_serializer
            and type(app.json).dumps is DefaultJSONProvider.dumps
            and inspect.getattr_static(interface.session_class, "permanent") is SessionMixin.permanent
        )

    def may_be_due(self, headers: RawHeaders) -> bool:
        """Whether the session in these request headers may be permanent and is to be refreshed. Never wrongly False."""
        config = self._config
        if not config["SESSION_REFRESH_EACH_REQUEST"]:
            return False
        for name, value in headers:
            if name == b"cookie":
                start = f"{config['SESSION_COOKIE_NAME']}=".encode("latin-1")
                for cookie in value.split(b";"):
                    cookie = cookie.strip()
                    if cookie.startswith(start) and self._may_be_permanent(cookie[len(start) :]):
                        return True
        return False

    def _may_be_permanent(self, cookie: bytes) -> bool:
        if not self._readable or cookie.startswith((b".", b'"')):  # compressed, or quoted
            return True
        try:
            return b'"_permanent"' in base64.urlsafe_b64decode(cookie.partition(b".")[0] + b"==")
        except ValueError:
            return True


class _StoredSessions:
    """Sessions whose interface may block: opened before the native route, saved at its response, both in a thread.

    To open one waits for a thread like any legacy request, and may be refused: nothing was done yet. To save it never
    does: the native route has written by then, and whoever reads 503 would try again.
    """

    def __init__(self, native: ASGIApp, app: Flask, threads: LegacyExecutor, prefix: str) -> None:
        self.native = native
        self.app = app
        self.threads = threads
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "session" in scope:
            return await self.native(scope, receive, send)
        environ = app_environ(scope, self.prefix, io.BytesIO())
        session = await self.threads.run(scope, "opening the session", self._open, environ)
        scope["session"] = session

        async def save_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response = take_assigned(session, scope["session"]), message["status"], list(message.get("headers", ()))
                headers = await self.threads.run_later(scope, "saving the session", self._save, environ, *response)
                message = {**message, "headers": headers}
            await send(message)

        await self.native(scope, receive, save_and_send)

    def _open(self, environ: dict[str, Any]) -> SessionMixin:
        with private.step(self.app, environ) as request:
            return add_mark_accessed(open_session(self.app, request))

    def _save(self, environ: dict[str, Any], session: SessionMixin, status: int, headers: RawHeaders) -> RawHeaders:
        with private.step(self.app, environ):
            return save(self.app, session, status, headers)


def _skip_mirrored_saves(interface: SessionInterface) -> None:
    """Let ``interface`` store nothing for a mirrored request, of either side: its user has been answered already.

    A session that is a cookie and nothing else is written, into an answer that nobody gets: so both sides' sessions can
    be compared. Of any other the cookie says only that it was not saved.
    """
    save_session = interface.save_session
    if getattr(save_session, "skips_mirrored", False):
        return

    is_cookie_alone = type(interface).save_session is SecureCookieSessionInterface.save_session

    @wraps(save_session)
    def guarded(app: Flask, session: SessionMixin, response: FlaskResponse) -> None:
        scope = flask_request.environ.get("asgi.scope") or {}
        if is_cookie_alone or not is_mirrored(scope):
            save_session(app, session, response)
            return
        response.set_cookie(interface.get_cookie_name(app), SESSION_NOT_SAVED)
        if session.accessed:
            response.vary.add("Cookie")

    guarded.skips_mirrored = True  # type: ignore[attr-defined]
    interface.save_session = guarded  # type: ignore[method-assign]
