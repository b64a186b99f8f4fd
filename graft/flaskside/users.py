"""Who is logged in: the value under one key of the session. For log lines, without opening a session for it; for the
side that answers, from the cookie alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from flask import Flask
from flask.sessions import SessionMixin
from flask.signals import request_tearing_down

from graft.flaskside.flask_private import private
from graft.flaskside.lazy_session import is_open, open_session
from graft.flaskside.sessions import is_signed_cookie, opened_session
from graft.request_record import RequestRecord
from graft.types import Scope


class UserIds:
    """``key`` is where the session keeps the user id: ``_user_id`` with Flask-Login.

    Legacy requests tell it at their end, so one that fails or that logs out is told right too.
    """

    def __init__(self, app: Flask, key: str) -> None:
        self._key = key
        request_tearing_down.connect(self._remember, app)

    def of(self, scope: Scope) -> str | None:
        """The user id of a finished request on either side; None if nobody is logged in or no one asked who is."""
        known = RequestRecord.of(scope).user
        return known if known is not None else self._read(opened_session(scope))

    def here(self) -> str | None:
        """The user id where this code runs: inside a Flask request context, for the Flask app's own ``logging``."""
        context = private.current_context()
        return None if context is None else self._read(private.session(context))

    def _remember(self, _: Flask, **__: Any) -> None:
        context = private.current_context()
        scope = context.request.environ.get("asgi.scope") if context is not None else None
        if scope is not None and (user := self._read(private.session(context))) is not None:
            RequestRecord.of(scope).user = user

    def _read(self, session: SessionMixin | None) -> str | None:
        """Past the session's own methods: with those, server-side sessions count it as a touch."""
        if not isinstance(session, dict) or not is_open(session):
            return None
        user = dict.get(session, self._key)
        return None if user is None else str(user)


USER_ID = "_user_id"
"""Where Flask-Login keeps it."""


def has_login(app: Flask) -> bool:
    """Does the app say who is logged in, as Flask-Login does?"""
    return hasattr(app, "login_manager")


class Saw(Protocol):
    def __call__(self, session: Mapping[str, Any], /, *, known: bool) -> object: ...


class SessionUsers:
    """Tells users apart by the app's session cookie, before any code of the app runs. (event loop)

    Flask's signed cookie is opened, which is arithmetic, and once for each value while that is among the last ones
    seen. Where sessions are stored on a server, what the cookie has is their id: it stays the same, and is as good.
    ``saw(session, known=...)`` is told each session that is opened, and whether it has a user.
    """

    def __init__(self, app: Flask, key: str = USER_ID, saw: Saw | None = None) -> None:
        self._app = app
        self._key = key
        self._saw = saw
        self.cookie = app.session_interface.get_cookie_name(app).encode("latin-1", "replace")
        self.signed = is_signed_cookie(app.session_interface)
        self.of = lru_cache(maxsize=512)(self._of if self.signed else _session_id)

    def _of(self, cookie: bytes) -> bytes:
        """What the user is known by who sends this session cookie; nothing if nobody is logged in, or by a cookie that
        is not the app's."""
        environ = {"HTTP_COOKIE": (self.cookie + b"=" + cookie).decode("latin-1"), **_ENVIRON}
        session = open_session(self._app, self._app.request_class(environ))
        user = session.get(self._key)
        if self._saw is not None:
            self._saw(session, known=user is not None)
        return b"" if user is None else b"user\n" + str(user).encode("utf-8", "replace")


def _session_id(cookie: bytes) -> bytes:
    return b"session\n" + cookie


_ENVIRON = {"wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "SERVER_NAME": ""}
