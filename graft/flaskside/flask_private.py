"""The private parts of Flask that Graft needs. No other file touches one.

Read in Flask 3.0.0 to 3.1.3 and in the source of 3.2.0.dev; none of Werkzeug's is needed. The installed Flask decides
which variant is used, once, when this module is imported. Nothing raises then: what is unknown or lacks a part is
refused by ``require()``, which every start calls, so that a person reads one sentence and not a traceback.

| line | contexts | the session of a context |
| --- | --- | --- |
| 3.0.0 to 3.1.2 | an app context below a request context | ``session``, a plain attribute |
| 3.1.3 to 3.1.x | the same | ``_session``; reading ``session`` counts as a touch |
| 3.2 | one context for both, and Flask's own steps take it as their first argument | as in 3.1.3 |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib.metadata import version
from types import ModuleType
from typing import Any

import flask
import flask.globals
from flask import Flask
from flask import Response as FlaskResponse
from flask.sessions import SessionMixin
from packaging.version import Version
from werkzeug.exceptions import NotFound

from graft.errors import SettingError

RequestContext = Any
"""``flask.ctx.RequestContext``; from Flask 3.2 on ``flask.ctx.AppContext``."""

SUPPORTED = {"flask": ("3.0", "3.3"), "werkzeug": ("3.0", "3.3")}
"""From this version on, up to that one; pyproject.toml says the same."""


class SeparateContexts:
    """Flask 3.0.0 to 3.1.2.

    Where a method says "current", it is for code that runs inside a request context. None of them blocks by itself:
    ``preprocess`` to ``handle_exception`` run functions of the app and are for worker threads, the others for any.
    """

    session_attribute = "session"

    def __init__(self, flask_globals: ModuleType = flask.globals) -> None:
        """Raises AttributeError that names a part which this Flask lacks."""
        self._app: ContextVar[Any] = flask_globals._cv_app
        self._request = self._request_variable(flask_globals)
        self.context_variables: frozenset[ContextVar[Any]] = frozenset({self._app, self._request})
        self._check(Flask("graft.flaskside", static_folder=None))

    def _request_variable(self, flask_globals: ModuleType) -> ContextVar[Any]:
        variable: ContextVar[Any] = flask_globals._cv_request
        return variable

    def _check(self, app: Flask) -> None:
        environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", "SERVER_NAME": "graft", "SERVER_PORT": "80"}
        context = app.request_context(environ)
        for holder, name in ((app, "_got_first_request"), (context, self.session_attribute)):
            if name not in vars(holder):
                raise AttributeError(f"flask.{type(holder).__name__} has no {name}")

    # The context.

    def current_context(self) -> RequestContext | None:
        """The request context that the caller runs in; None outside of one."""
        return self._request.get(None)

    def make_context(self, app: Flask, environ: dict[str, Any], *, matches: bool = True) -> RequestContext:
        """A request context, not pushed; with ``matches=False`` its path is no rule of the app's, whatever it says."""
        context = app.request_context(environ)
        if not matches:  # of the request, not of the context: that would be a cycle for the garbage collector
            context.match_request = partial(_match_nothing, context.request)  # type: ignore[method-assign]
        return context

    def set_current(self, context: RequestContext) -> None:
        """Let the rest of the caller's ``contextvars.Context`` run in ``context``, which is not pushed: no session is
        opened, no signal sent, nothing torn down."""
        self._app.set(context.app.app_context())
        self._request.set(context)

    @contextmanager
    def only_app(self, app: Flask) -> Iterator[None]:
        """``current_app`` alone, without the signals and the teardown of a pushed context: for app.json.

        Inside a context of ``app`` that one stays, with its ``g`` and its request.
        """
        current = self._app.get(None)
        if current is not None and current.app is app:
            yield
            return
        token = self._app.set(app.app_context())
        try:
            yield
        finally:
            self._app.reset(token)

    @contextmanager
    def step(self, app: Flask, environ: dict[str, Any]) -> Iterator[flask.Request]:
        """``flask.request``, ``g`` and ``current_app`` for one step of a request that is dispatched elsewhere.

        The app context is torn down, for it may hold a connection. No session is opened and teardown_request functions
        don't run: they are for a request.
        """
        with app.app_context():
            context = app.request_context(environ)
            token = self._request.set(context)
            try:
                yield context.request
            finally:
                self._request.reset(token)

    # Its session.

    def session(self, context: RequestContext) -> SessionMixin | None:
        """The session of ``context`` without touching it; None before it was opened."""
        found: SessionMixin | None = getattr(context, self.session_attribute)
        return found

    def set_session(self, context: RequestContext, session: SessionMixin) -> None:
        """Let ``context``, which is not pushed yet, have this session rather than open one."""
        setattr(context, self.session_attribute, session)

    # What Flask does around a view, in its order, in the current context.

    def mark_first_request(self, app: Flask) -> None:
        """From now on ``app`` refuses setup methods such as ``before_request``, as it does once it has answered."""
        app._got_first_request = True

    def preprocess(self, app: Flask) -> Any:
        """Run the before_request functions; returns what one of them answered, or None."""
        return app.preprocess_request()

    def finalize(self, app: Flask, answer: Any) -> FlaskResponse:
        """A response of ``answer``, past the after_request functions and with the session saved."""
        return app.finalize_request(answer)

    def process_response(self, app: Flask, response: FlaskResponse) -> FlaskResponse:
        """Run the after_request functions and save the session; returns the response that is to be sent."""
        return app.process_response(response)

    def handle_user_exception(self, app: Flask, error: Exception) -> Any:
        """What the app's handler answers to ``error``. Raises ``error`` where it has none."""
        return app.handle_user_exception(error)

    def handle_exception(self, app: Flask, error: Exception) -> FlaskResponse:
        """The page for a crash. Raises ``error`` in debug mode and where PROPAGATE_EXCEPTIONS says so."""
        return app.handle_exception(error)


class TrackedSession(SeparateContexts):
    """Flask 3.1.3 to 3.1.x."""

    session_attribute = "_session"


class MergedContexts(TrackedSession):
    """Flask 3.2."""

    def _request_variable(self, flask_globals: ModuleType) -> ContextVar[Any]:
        return self._app

    def current_context(self) -> RequestContext | None:
        context = self._app.get(None)
        return context if context is not None and context.has_request else None

    def set_current(self, context: RequestContext) -> None:
        self._app.set(context)

    @contextmanager
    def step(self, app: Flask, environ: dict[str, Any]) -> Iterator[flask.Request]:
        # One context is both here: to push it would open a session, to pop it would end a request. So the half of
        # it that belongs to the app is done by hand, as AppContext.push and pop do it.
        context: Any = app.request_context(environ)
        token = self._app.set(context)
        flask.appcontext_pushed.send(app, _async_wrapper=app.ensure_sync)
        error: BaseException | None = None
        try:
            yield context.request
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                self._steps(app).do_teardown_appcontext(context, error)
            finally:
                self._app.reset(token)
            flask.appcontext_popped.send(app, _async_wrapper=app.ensure_sync)

    def preprocess(self, app: Flask) -> Any:
        return self._steps(app).preprocess_request(self.current_context())

    def finalize(self, app: Flask, answer: Any) -> FlaskResponse:
        response: FlaskResponse = self._steps(app).finalize_request(self.current_context(), answer)
        return response

    def process_response(self, app: Flask, response: FlaskResponse) -> FlaskResponse:
        processed: FlaskResponse = self._steps(app).process_response(self.current_context(), response)
        return processed

    def handle_user_exception(self, app: Flask, error: Exception) -> Any:
        return self._steps(app).handle_user_exception(self.current_context(), error)

    def handle_exception(self, app: Flask, error: Exception) -> FlaskResponse:
        page: FlaskResponse = self._steps(app).handle_exception(self.current_context(), error)
        return page

    @staticmethod
    def _steps(app: Flask) -> Any:
        """``app``, whose steps have other parameters here than in the Flask that the types are checked against."""
        return app


class Refused:
    """Stands for a Flask that can't be worked with: whatever is asked of it raises ``error``."""

    def __init__(self, error: SettingError) -> None:
        self.error = error

    def __getattr__(self, _: str) -> Any:
        raise self.error


def streams_anywhere(installed: Callable[[str], str] = version) -> bool:
    """Whether a stream that ``stream_with_context`` made goes on in another thread than it was begun in."""
    return Version(installed("flask")).release >= (3, 1, 2)


def choose(installed: Callable[[str], str] = version, flask_globals: ModuleType = flask.globals) -> Any:
    """The variant for the installed Flask; a ``Refused`` where there is none or a part is missing."""
    for library, (lowest, below) in SUPPORTED.items():
        found = installed(library)
        if not Version(lowest).release <= Version(found).release < Version(below).release:
            return Refused(_refusal(library, found, "is not a version that Graft was tested with"))
    found = installed("flask")
    release = Version(found).release
    variant = MergedContexts if release >= (3, 2) else TrackedSession if release >= (3, 1, 3) else SeparateContexts
    try:
        return variant(flask_globals)
    except AttributeError as missing:
        return Refused(_refusal("flask", found, f"lacks a part that Graft needs ({missing})"))


def require() -> None:
    """Raises SettingError where the installed Flask or Werkzeug can't be worked with: library, found, supported."""
    if isinstance(private, Refused):
        raise private.error


def _refusal(library: str, found: str, why: str) -> SettingError:
    lowest, below = SUPPORTED[library]
    return SettingError(
        f"{library} {found}", why, f"Install a version that is: pip install '{library}>={lowest},<{below}'."
    )


def behind(proxy: Any) -> Any:
    """What ``flask.g``, ``flask.current_app`` and the like stand for at this moment."""
    return proxy._get_current_object()


def _match_nothing(request: flask.Request) -> None:
    request.routing_exception = NotFound()


private: SeparateContexts = choose()
