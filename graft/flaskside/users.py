"""Who is logged in, for log lines: the value under one key of the session, without opening a session for it."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.sessions import SessionMixin
from flask.signals import request_tearing_down

from graft.flaskside.flask_private import private
from graft.flaskside.lazy_session import is_open
from graft.flaskside.sessions import opened_session
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
