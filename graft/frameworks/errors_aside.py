"""Errors that a framework answers inside its app, put aside by a handler there and raised when the app is through."""

from __future__ import annotations

from graft.types import ASGIApp, Message, Receive, Scope, Send

ASIDE = "graft.frameworks.errors_aside"
"""In the scope: the list that takes the error. A handler that finds none answers it itself."""


async def raised(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer by ``app``; raises the error that a handler of it has put aside, whose response goes to nobody.

    Nothing of a response is sent before it has begun, so the handler may still take what comes. (event loop)
    """
    aside: list[Exception] = []

    async def send_no_error(message: Message) -> None:
        if not aside:
            await send(message)

    await app({**scope, ASIDE: aside}, receive, send_no_error)
    if aside:
        raise aside[0]
