"""A signed-cookie session that is opened at its first touch: most native routes never ask for one.

Starlette's ``request.session`` can't be awaited, and opening a signed cookie is arithmetic: it is done where the touch
is, on the loop or in a worker thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, cast

from flask import Flask
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from graft.flaskside.flask_private import private

RawHeaders = list[tuple[bytes, bytes]]


def lazy_class(app: Flask) -> type[SecureCookieSession]:
    """The class of a session of ``app`` that is not open yet. At the first touch the object becomes an ordinary one,
    of the app's own session class."""
    known: type[SecureCookieSession] | None = app.extensions.get("graft")
    if known is not None:
        return known
    kind = _with_mark_accessed(cast(SecureCookieSessionInterface, app.session_interface).session_class)
    namespace: dict[str, Any] = {
        name: _opening(name) for name in (*vars(dict), "__reduce_ex__") if name not in _STRUCTURAL
    }
    namespace["__setattr__"] = lambda self, name, value: setattr(open_lazy(self), name, value)
    namespace["__getattr__"] = lambda self, name: getattr(open_lazy(self), name)
    namespace |= {"__module__": kind.__module__, "_graft_app": app}
    made = app.extensions["graft"] = type(kind.__name__, (kind,), namespace)
    return cast(type[SecureCookieSession], made)


def make_lazy(kind: type[SecureCookieSession], headers: RawHeaders) -> SecureCookieSession:
    """A session of ``kind``, a ``lazy_class``, in the cookies of these request headers."""
    session = _new(kind)
    session.__dict__[_HEADERS] = headers  # quicker than setattr
    return cast(SecureCookieSession, session)


def is_open(session: SessionMixin) -> bool:
    """Has anyone touched ``session``? To ask is no touch. True for a session that never was lazy."""
    return _HEADERS not in getattr(session, "__dict__", ())


def open_lazy(session: SessionMixin) -> SessionMixin:
    """``session`` itself, filled and of its ordinary class, if it is not yet. (any thread)"""
    state = session.__dict__
    # The native route on the loop and its legacy.run in a worker thread may touch it at the same moment: the second
    # would see the object between its two classes.
    with _opening_lock:
        if _HEADERS in state:
            app: Flask = type(session)._graft_app  # type: ignore[attr-defined]
            real = open_session(app, app.request_class(_cookie_environ(state[_HEADERS])))
            dict.update(cast(SecureCookieSession, session), real)
            state.update(vars(real))
            _set(session, "__class__", _with_mark_accessed(type(real)))
            del state[_HEADERS]
    return session


def open_session(app: Flask, request: Any) -> SessionMixin:
    """The session of a werkzeug ``request``; Flask's null session where there is no secret key. May block where the
    app's session interface does. ``app.json`` reads it, as in a request of Flask's."""
    interface = app.session_interface
    with private.only_app(app):
        session = interface.open_session(app, request)
    return interface.make_null_session(app) if session is None else session


def add_mark_accessed(session: SessionMixin) -> SessionMixin:
    """``session`` itself, from now on with the method that Starlette calls at each ``request.session``."""
    if not hasattr(session, "mark_accessed"):
        with suppress(TypeError):  # a class with a layout of its own: Starlette takes such a session as it is
            session.__class__ = _with_mark_accessed(type(session))
    return session


def _subclass_with_mark_accessed(kind: type[Any]) -> type[Any]:
    def mark_accessed(self: SessionMixin) -> None:
        self.accessed = True

    return type(kind.__name__, (kind,), {"mark_accessed": mark_accessed, "__module__": kind.__module__})


_with_mark_accessed: Callable[[Any], Any] = cache(_subclass_with_mark_accessed)


def _opening(name: str) -> Callable[..., Any]:
    def method(self: SecureCookieSession, *args: Any, **keywords: Any) -> Any:
        return getattr(open_lazy(self), name)(*args, **keywords)

    return method


def _cookie_environ(headers: RawHeaders) -> dict[str, Any]:
    """As much of an environ as Flask's own interface reads."""
    cookies = [value.decode("latin-1") for name, value in headers if name == b"cookie"]
    return {"HTTP_COOKIE": "; ".join(cookies), "wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "SERVER_NAME": ""}


_HEADERS = "_graft_unopened"
_new: Any = dict.__new__
_set = object.__setattr__
_opening_lock = threading.Lock()
_STRUCTURAL = frozenset(
    {"__new__", "__init__", "__getattribute__", "__class_getitem__", "__doc__", "__hash__", "fromkeys"}
)
