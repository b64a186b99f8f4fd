"""For routes in FastAPI: what plain Starlette routes have in ``request.state``, as typed dependencies."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

USER_KEYS = ("_user_id", "user_id")


class LegacyOf:
    """``request.state.legacy`` for one request."""

    def __init__(self, request: HTTPConnection) -> None:
        self._request = request
        self._legacy = request.state.legacy

    async def run(self, fn: Any, /, *args: Any, **keywords: Any) -> Any:
        return await self._legacy.run(self._request, fn, *args, **keywords)

    def stream_with_context(self, body: Any) -> Any:
        return self._legacy.stream_with_context(self._request, body)

    async def view(self) -> Any:
        return await self._legacy.view(self._request)

    async def render(self, template: str, /, **context: Any) -> Any:
        return await self._legacy.render(self._request, template, **context)

    def url_for(self, endpoint: str, /, **values: Any) -> str:
        url: str = self._legacy.url_for(self._request, endpoint, **values)
        return url

    def json(self, *args: Any, **keywords: Any) -> Any:
        return self._legacy.json(*args, **keywords)


def elasticsearch_of(request: HTTPConnection) -> Any:
    return request.state.elasticsearch


def legacy_of(request: HTTPConnection) -> LegacyOf:
    return LegacyOf(request)


def session_of(request: HTTPConnection) -> Any:
    return request.session


def user_of(request: HTTPConnection) -> str | None:
    """The user id in the session; None for nobody."""
    session = request.session
    return next((str(session[key]) for key in USER_KEYS if session.get(key) is not None), None)


def tasks_of(request: HTTPConnection) -> Any:
    return request.state.tasks


Elasticsearch = Annotated[Any, Depends(elasticsearch_of)]
Legacy = Annotated[LegacyOf, Depends(legacy_of)]
LegacySession = Annotated[Any, Depends(session_of)]
CurrentUser = Annotated[str | None, Depends(user_of)]
Tasks = Annotated[Any, Depends(tasks_of)]
