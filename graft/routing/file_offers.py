"""Offers a native route to send its file by ``http.response.pathsend``, where nothing between wants the bytes."""

from __future__ import annotations

from collections.abc import Awaitable

from graft.connection.file_transfer import file_sender
from graft.request_record import RequestRecord
from graft.types import ASGIApp, Receive, Scope, Send

EXTENSION = "http.response.pathsend"


def offer_files(scope: Scope) -> None:
    """For who is about to call ``send`` itself: below there is nothing but Graft's own rooms, which let it pass."""
    way = RequestRecord.of(scope).file_way
    if way is not None and file_sender(way) is not None:
        scope["extensions"] = {**(scope.get("extensions") or {}), EXTENSION: {}}


def with_files(app: ASGIApp) -> ASGIApp:
    """``app``, which sends its files itself, with the offer."""

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        offer_files(scope)
        return app(scope, receive, send)

    return call
