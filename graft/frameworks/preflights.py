"""CORS preflights: an ``OPTIONS`` that the middleware of a module's app answers for an operation it stands around.

No route of the app has that method, so the router finds none; a browser asks all the same, before each request from
another origin that is more than a plain form.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from graft.frameworks.hosted_app import HostedRoute
from graft.types import ASGIApp, Message, Receive, Scope, Send


def method_asked_for(scope: Scope) -> str | None:
    """The method of the request that the browser wants to make; None where ``scope`` is no preflight."""
    if scope["method"] != "OPTIONS":
        return None
    headers = dict(scope["headers"])
    asked: bytes | None = headers.get(b"access-control-request-method")
    return asked.decode("latin-1") if asked is not None and b"origin" in headers else None


def app_for(route: BaseRoute | None, method: str, scope: Scope) -> ASGIApp | None:
    """The app that ``route`` is of, where the native side has what the browser is about to ask; None leaves the
    preflight to others."""
    if not isinstance(route, HostedRoute):
        return None
    is_native = getattr(route.sides.get(method), "is_native", None)
    return route.asked if is_native is None or is_native(scope) else None


def asking_first(app: ASGIApp, otherwise: ASGIApp) -> ASGIApp:
    """``app``'s answer to a preflight where it says something about origins, else the one of ``otherwise``.

    An app without CORS of its own refuses the method, or lists its methods as for any ``OPTIONS``. (event loop)
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        answered: bool | None = None

        async def send_what_answers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message.get("headers", ()))}
                answered = any(name.lower().startswith(b"access-control-") for name, _ in message["headers"])
            if answered:
                await send(message)

        await app(scope, receive, send_what_answers)
        if not answered:
            await otherwise(scope, receive, send)

    return answer
