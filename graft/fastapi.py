"""For native routes in FastAPI: what plain Starlette routes have in ``request.state``, as typed dependencies.

    @router.get("/api/articles/{id}")
    async def article(id: int, elasticsearch: Elasticsearch, user: CurrentUser) -> Article: ...

Each is an ``Annotated`` type with its ``Depends``, so that tests override them as FastAPI's tests do
(``app.dependency_overrides[legacy_of] = ...``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from elasticsearch import AsyncElasticsearch
from fastapi import Depends
from flask.sessions import SessionMixin
from starlette.requests import HTTPConnection
from starlette.responses import Response

from graft.tasks import Runner

__all__ = ["CurrentUser", "Elasticsearch", "Legacy", "LegacySession", "Tasks"]

T = TypeVar("T")


class LegacyOf:
    """``request.state.legacy`` for one request: the Flask app's functions, templates and URLs."""

    def __init__(self, request: HTTPConnection) -> None:
        self._request = request
        self._legacy = request.state.legacy

    async def run(self, fn: Callable[..., T], /, *args: Any, **keywords: Any) -> T:
        """``fn(*args, **keywords)`` in a legacy thread, in the Flask app's request context. Raises what it does."""
        result: T = await self._legacy.run(self._request, fn, *args, **keywords)
        return result

    async def view(self) -> Response:
        """What the Flask app's own view of this path answers."""
        response: Response = await self._legacy.view(self._request)
        return response

    def stream_with_context(self, body: T) -> T:
        """``body`` itself, for a streamed response: the context of the app's hooks lasts to its end."""
        kept: T = self._legacy.stream_with_context(self._request, body)
        return kept

    async def render(self, template: str, /, **context: Any) -> Response:
        """The page that ``flask.render_template`` gives, with the app's context processors, filters and messages."""
        response: Response = await self._legacy.render(self._request, template, **context)
        return response

    def url_for(self, endpoint: str, /, **values: Any) -> str:
        """What ``flask.url_for`` gives inside this request."""
        url: str = self._legacy.url_for(self._request, endpoint, **values)
        return url

    def json(self, *args: Any, **keywords: Any) -> Response:
        """A response with the bytes and headers that ``flask.jsonify`` would give."""
        response: Response = self._legacy.json(*args, **keywords)
        return response


def elasticsearch_of(request: HTTPConnection) -> AsyncElasticsearch:
    """The worker's one client."""
    client: AsyncElasticsearch = request.state.elasticsearch
    return client


def legacy_of(request: HTTPConnection) -> LegacyOf:
    return LegacyOf(request)


def session_of(request: HTTPConnection) -> SessionMixin:
    """Flask's session of this request; what is changed in it goes into the same cookie."""
    session: SessionMixin = request.session  # type: ignore[assignment]
    return session


def user_of(request: HTTPConnection) -> str | None:
    """Who is logged in: the user id that Flask-Login or Flask's tutorial keeps in the session; None for nobody."""
    session = request.session
    return next((str(session[key]) for key in USER_KEYS if session.get(key) is not None), None)


def tasks_of(request: HTTPConnection) -> Runner:
    """Background tasks with ids: ``tasks.start(function, *args)``."""
    tasks: Runner = request.state.tasks
    return tasks


USER_KEYS = ("_user_id", "user_id")
"""Flask-Login's, and the one that most apps without it have."""

Elasticsearch = Annotated[AsyncElasticsearch, Depends(elasticsearch_of)]
Legacy = Annotated[LegacyOf, Depends(legacy_of)]
LegacySession = Annotated[SessionMixin, Depends(session_of)]
CurrentUser = Annotated[str | None, Depends(user_of)]
Tasks = Annotated[Runner, Depends(tasks_of)]
