"""``request.session`` in a native route is the Flask app's session: the same cookie, read and written by the app's own
``session_interface``, and an object of its own session class.

Flask's signed-cookie sessions are opened at the first touch, on the loop: that is arithmetic. Any other interface may
block, and Starlette's ``request.session`` can't be awaited: such a session is opened and saved in the legacy threads,
on every request, as Flask does.
"""

from __future__ import annotations

import inspect
import io
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, wraps
from typing import Any, TypeVar, cast

from flask import Flask
from flask import Response as FlaskResponse
from flask.globals import request as flask_request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionInterface, SessionMixin

from graft.flaskside.flask_private import private
from graft.flaskside.request_context import app_environ
from graft.flaskside.responses import flask_response, raw_headers
from graft.request_record import is_mirrored
from graft.threads.executor import LegacyExecutor
from graft.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")


def wrap(native: ASGIApp, app: Flask, threads: LegacyExecutor, prefix: str = "") -> ASGIApp:
    """``native`` with Flask's session in ``scope["session"]``, saved when its response starts.

    ``prefix`` is where the Flask app is mounted. A session that is in the scope already is left to who put it there.
    """
    if computes_only(app.session_interface):
        return _CookieSessions(native, app)
    _save_for_users_only(app.session_interface)
    return _StoredSessions(native, app, threads, prefix)


def computes_only(interface: SessionInterface) -> bool:
    """Whether ``interface`` is Flask's signed cookie, with no method replaced that might block or need a context."""
    if not isinstance(interface, SecureCookieSessionInterface):
        return False
    replaced = any(
        name in vars(interface) or getattr(type(interface), name) is not method
        for name, method in inspect.getmembers(SecureCookieSessionInterface, inspect.isfunction)
        if name != "digest_method"
    )
    return not replaced and issubclass(interface.session_class, SecureCookieSession)


def opened(scope: Scope) -> SessionMixin | None:
    """The session of this request if someone has opened it, else None; it does not count as a touch."""
    session = scope.get("session")
    return None if session is None or "_closed" in getattr(session, "__dict__", ()) else cast(SessionMixin, session)


def shared(session: SessionMixin) -> SessionMixin:
    """``session`` itself, fit from now on for Starlette's ``request.session`` as well as for ``flask.session``."""
    if not hasattr(session, "mark_accessed"):
        with suppress(TypeError):  # a class with a layout of its own: Starlette takes such a session as it is
            session.__class__ = _shared_class(type(session))
    return session


def save(
    app: Flask, session: SessionMixin, status: int, headers: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """``headers`` of a response with this ``status``, and what the app's interface adds for ``session``."""
    interface = app.session_interface
    if interface.is_null_session(session):
        return headers
    vary = [value for name, value in headers if name.lower() == b"vary"]
    response = flask_response(app, status, [(b"vary", b", ".join(vary))] if vary else [])
    interface.save_session(app, session, response)
    added = raw_headers(response.headers)
    if any(name == b"vary" for name, _ in added):
        headers = [pair for pair in headers if pair[0].lower() != b"vary"]
    return [*headers, *added]


class _CookieSessions:
    """Signed cookies. One object and one closure a request, no coroutine, no reference cycle: it is on every path."""

    def __init__(self, native: ASGIApp, app: Flask) -> None:
        self.native = native
        self.app = app
        self.lazy_class: type[SecureCookieSession] = _lazy_class(app)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if "session" in scope:
            return self.native(scope, receive, send)
        lazy_class = self.lazy_class
        scope["session"] = session = _new(lazy_class)
        session.__dict__["_closed"] = scope["headers"]  # quicker than setattr

        def save_and_send(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and (
                type(session) is not lazy_class or type(scope["session"]) is dict
            ):
                message = self._saved(adopt(session, scope["session"]), message)
            return send(message)

        return self.native(scope, receive, save_and_send)

    def _saved(self, session: SessionMixin, start: Message) -> Message:
        return {**start, "headers": save(self.app, session, start["status"], list(start.get("headers", ())))}


class _StoredSessions:
    """Sessions whose interface may block: opened before the native route, saved at its response, both in a thread."""

    def __init__(self, native: ASGIApp, app: Flask, threads: LegacyExecutor, prefix: str) -> None:
        self.native = native
        self.app = app
        self.threads = threads
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "session" in scope:
            return await self.native(scope, receive, send)
        environ = app_environ(scope, self.prefix, io.BytesIO())
        session = await self._step(scope, "opening", self._open, environ)
        scope["session"] = session

        async def save_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                current = adopt(session, scope["session"])
                headers = list(message.get("headers", ()))
                headers = await self._step(scope, "saving", self._save, environ, current, message["status"], headers)
                message = {**message, "headers": headers}
            await send(message)

        await self.native(scope, receive, save_and_send)

    async def _step(self, scope: Scope, doing: str, fn: Callable[..., T], *args: Any) -> T:
        return await self.threads.run(scope, f"{doing} the session", fn, *args)

    def _open(self, environ: dict[str, Any]) -> SessionMixin:
        with private.step(self.app, environ) as request:
            return shared(open_session(self.app, request))

    def _save(self, environ: dict[str, Any], session: SessionMixin, *response: Any) -> list[tuple[bytes, bytes]]:
        with private.step(self.app, environ):
            return save(self.app, session, *response)


def open_session(app: Flask, request: Any) -> SessionMixin:
    """The session of a werkzeug ``request``; Flask's null session where there is no secret key."""
    interface = app.session_interface
    session = interface.open_session(app, request)
    return interface.make_null_session(app) if session is None else session


def adopt(session: SessionMixin, assigned: Any) -> SessionMixin:
    """``session``, with the content of the plain dict that was ``assigned`` to ``scope["session"]`` in its place.

    Anything else there is the session of some other middleware further in, which sees to it itself.
    """
    if type(assigned) is dict:
        session.clear()
        session.update(assigned)
    return session


def _save_for_users_only(interface: SessionInterface) -> None:
    """Let ``interface`` store nothing for a mirrored request, of either side: its user has been answered already."""
    save_session = interface.save_session
    if getattr(save_session, "for_users_only", False):
        return

    @wraps(save_session)
    def guarded(app: Flask, session: SessionMixin, response: FlaskResponse) -> None:
        scope = flask_request.environ.get("asgi.scope") or {}
        if not is_mirrored(scope):
            save_session(app, session, response)
        elif session.accessed:
            response.vary.add("Cookie")

    guarded.for_users_only = True  # type: ignore[attr-defined]
    interface.save_session = guarded  # type: ignore[method-assign]


def _make_shared(kind: type[Any]) -> type[Any]:
    """``kind`` with the one method that Starlette calls at each ``request.session``."""

    def mark_accessed(self: SessionMixin) -> None:
        self.accessed = True

    return type(kind.__name__, (kind,), {"mark_accessed": mark_accessed, "__module__": kind.__module__})


_shared_class: Callable[[Any], Any] = cache(_make_shared)


def _lazy_class(app: Flask) -> type[SecureCookieSession]:
    """A session of ``app`` that is opened at the first touch, and becomes an ordinary session of its class then."""
    known: type[SecureCookieSession] | None = app.extensions.get("graft")
    if known is not None:
        return known
    kind = _shared_class(cast(SecureCookieSessionInterface, app.session_interface).session_class)
    namespace: dict[str, Any] = {
        name: _opening(name) for name in (*vars(dict), "__reduce_ex__") if name not in _STRUCTURAL
    }
    namespace["__setattr__"] = lambda self, name, value: setattr(_open(self), name, value)
    namespace["__getattr__"] = lambda self, name: getattr(_open(self), name)
    namespace |= {"__module__": kind.__module__, "_graft_app": app}
    made = app.extensions["graft"] = type(kind.__name__, (kind,), namespace)
    return cast(type[SecureCookieSession], made)


def _opening(name: str) -> Callable[..., Any]:
    def method(self: SecureCookieSession, *args: Any, **keywords: Any) -> Any:
        return getattr(_open(self), name)(*args, **keywords)

    return method


def _open(session: SecureCookieSession) -> SecureCookieSession:
    """``session`` itself, filled and of its ordinary class."""
    state = session.__dict__
    with _opening_lock:  # a legacy thread may touch it at the same moment
        if "_closed" in state:
            app: Flask = type(session)._graft_app  # type: ignore[attr-defined]
            real = open_session(app, app.request_class(_cookies(state["_closed"])))
            dict.update(session, real)
            state.update(vars(real))
            _set(session, "__class__", _shared_class(type(real)))
            del state["_closed"]
    return session


def _cookies(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """As much of an environ as Flask's own interface reads."""
    cookies = [value.decode("latin-1") for name, value in headers if name == b"cookie"]
    return {"HTTP_COOKIE": "; ".join(cookies), "wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "SERVER_NAME": ""}


_new = dict.__new__
_set = object.__setattr__


_opening_lock = threading.Lock()
_STRUCTURAL = frozenset(
    {"__new__", "__init__", "__getattribute__", "__class_getitem__", "__doc__", "__hash__", "fromkeys"}
)
