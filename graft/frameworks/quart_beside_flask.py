"""A Quart app beside the Flask app: one session, one ``g``, the same templates, and URLs of both.

Quart's views are Flask's with ``async`` in front, so they expect what Flask's views have. All of it comes through
Quart's documented hooks, and an app that has replaced one of them keeps its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from flask import Flask
from flask.globals import app_ctx
from flask.sessions import SessionMixin
from jinja2 import ChoiceLoader
from quart import Quart, has_request_context, has_websocket_context, request, websocket
from quart.sessions import SecureCookieSessionInterface, SessionInterface
from starlette.requests import HTTPConnection
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError

from graft.frameworks.errors_aside import ASIDE, raised
from graft.frameworks.hosted_app import HostedApp
from graft.request_record import RequestRecord
from graft.types import Receive, Scope, Send


class HostedQuart(HostedApp):
    """``is_own``: the app was made for a blueprint, and has the Flask app's configuration and errors as its own."""

    raises_errors = True

    def __init__(self, app: Quart, name: str, *, is_own: bool = False) -> None:
        super().__init__(app, name)  # type: ignore[arg-type]
        if not is_own and HTTPException not in app.error_handler_spec[None][None]:
            leave_errors(app)
        self.quart = app
        self._is_own = is_own

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and (self._is_own or RequestRecord.of(scope).legacy_errors):
            return raised(super().__call__, scope, receive, send)
        return super().__call__(scope, receive, send)

    def beside(self, flask_app: Flask) -> None:
        app = self.quart
        if self._is_own:
            app.config.update(flask_app.config)
        if app.secret_key is None:
            app.secret_key = flask_app.secret_key
        if type(app.session_interface) is SecureCookieSessionInterface:
            app.session_interface = FlasksSession()  # type: ignore[assignment]
        if app.app_ctx_globals_class is _QuartsGlobals:
            app.app_ctx_globals_class = FlasksGlobals
        app.url_for = _URLs(app.url_for)  # type: ignore[method-assign]
        app.jinja_env.globals["url_for"] = app.url_for
        app.template_context_processors[None].insert(0, _FlasksContext(flask_app).context)
        _share_templates(app, flask_app)


def leave_errors(app: Quart) -> None:
    """What no handler answers is raised out of ``app`` where somebody takes it, and told as the Flask app tells it; a
    switched route falls back where it is no answer in itself. Before a blueprint is registered in an app made for it.
    """

    async def put_aside(error: HTTPException) -> Any:
        aside = (_scope() or {}).get(ASIDE)
        if aside is None:
            return error
        aside.append(getattr(error, "original_exception", None) or error)
        return "", error.code

    app.register_error_handler(HTTPException, put_aside)


class FlasksSession(SessionInterface):
    """The session that Graft has opened for the request, as for every native route; Graft also writes its cookie."""

    async def open_session(self, app: Quart, request: Any) -> SessionMixin | None:
        session: SessionMixin | None = request.scope.get("session")
        return session

    async def save_session(self, app: Quart, session: SessionMixin, response: Any) -> None:
        """Graft does, after the response has begun."""


_QuartsGlobals: Any = Quart.app_ctx_globals_class


class FlasksGlobals(_QuartsGlobals):  # type: ignore[misc]
    """``g``. Behind the Flask app's hooks it is Flask's own: what before_request put there is here, and back."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            own: dict[str, Any] = object.__getattribute__(self, name)
            theirs = own.get(_FLASKS) or own.setdefault(_FLASKS, _flasks_g())
            return own if theirs is None else vars(theirs)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None


class _URLs:
    """``url_for`` of both apps: Quart's own endpoints first, then those that only the Flask app has."""

    def __init__(self, url_for: Callable[..., str]) -> None:
        self._url_for = url_for

    def __call__(self, endpoint: str, **values: Any) -> str:
        try:
            return self._url_for(endpoint, **values)
        except BuildError as error:
            scope = _scope()
            if scope is None:
                raise
            try:
                url: str = scope["state"]["legacy"].url_for(HTTPConnection(scope), endpoint, **values)
            except BuildError:
                raise error from None
            return url


class _FlasksContext:
    """The Flask app's context processors, run in a worker thread in its request context."""

    def __init__(self, flask_app: Flask) -> None:
        self._app = flask_app

    async def context(self) -> dict[str, Any]:
        scope = _scope()
        if scope is None or not any(self._app.template_context_processors.values()):
            return {}
        context: dict[str, Any] = await scope["state"]["legacy"].run(HTTPConnection(scope), self._of_flask)
        return context

    def _of_flask(self) -> dict[str, Any]:
        context: dict[str, Any] = {}
        self._app.update_template_context(context)
        for name in ("request", "session", "g"):  # Quart's own
            context.pop(name, None)
        return context


def _share_templates(app: Quart, flask_app: Flask) -> None:
    ours, theirs = app.jinja_env, flask_app.jinja_env
    ours.loader = ChoiceLoader([loader for loader in (ours.loader, theirs.loader) if loader is not None])
    for name in ("globals", "filters", "tests"):
        mine = getattr(ours, name)
        mine.update({key: value for key, value in getattr(theirs, name).items() if key not in mine})
    for extension in theirs.extensions.values():
        with suppress(TypeError):
            ours.add_extension(type(extension))


def _scope() -> Scope | None:
    if has_request_context():
        return request.scope  # type: ignore[return-value]
    return websocket.scope if has_websocket_context() else None  # type: ignore[return-value]


def _flasks_g() -> Any:
    scope = _scope()
    context = RequestRecord.of(scope).flask_context if scope is not None else None
    if context is None or not context.open:
        return None
    return context.call_on_loop(lambda: app_ctx.g)


_FLASKS = " of Flask"
"""Where ``g`` remembers Flask's; no attribute can be called that."""
