"""A session that the app keeps elsewhere than in its cookie, opened and saved by the app's own session interface."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.leaving.written.flask_app import FlaskSide
from graft.leaving.written.flask_context import environ_of


class StoredSessions:
    """ASGI middleware: ``request.session`` is the app's own object. The interface may block, so it runs in a thread."""

    def __init__(self, app: ASGIApp, side: FlaskSide) -> None:
        self.app = app
        self._flask = side.app
        self._interface: Any = side.session_interface

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        handshake = {"http_version": "1.1", "method": "GET", **scope}
        scope["session"] = session = await run_in_threadpool(self._open, environ_of(handshake, io.BytesIO()))

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                message = {**message, "headers": await run_in_threadpool(self._saved, session, headers)}
            await send(message)

        await self.app(scope, receive, send_with_cookie)

    def _open(self, environ: dict[str, Any]) -> Any:
        with self._flask.app_context():
            session = self._interface.open_session(self._flask, self._flask.request_class(environ))
            session = self._interface.make_null_session(self._flask) if session is None else session
        if not hasattr(session, "mark_accessed"):
            with suppress(TypeError):  # a class with a layout of its own
                kind = type(session)
                session.__class__ = type(kind.__name__, (kind,), {"mark_accessed": _mark_accessed})
        return session

    def _saved(self, session: Any, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        if self._interface.is_null_session(session):
            return headers
        response = self._flask.response_class()
        response.headers.clear()
        for name, value in headers:
            if name.lower() == b"vary":
                response.headers.add("Vary", value.decode("latin-1"))
        with self._flask.app_context():
            self._interface.save_session(self._flask, session, response)
        added = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        return [*(pair for pair in headers if pair[0].lower() != b"vary"), *added]


def _mark_accessed(session: Any) -> None:
    session.accessed = True
