"""Who may use the control plane: whoever has the admin token, as a bearer or in the dashboard's login cookie."""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from graft.observe.errors import error_response

Endpoint = Callable[[Request], Awaitable[Response]]

COOKIE = "graft_admin"


def guard(token: str) -> Callable[[Endpoint], Endpoint]:
    """Close an endpoint to requests without ``token``: they get 401 in the JSON error shape."""
    expected = cookie_value(token)

    def decorate(endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            if _has_bearer(request, token) or _equal(request.cookies.get(COOKIE, ""), expected):
                return await endpoint(request)
            return error_response(
                401,
                "The admin token is missing or wrong. Send it as 'Authorization: Bearer TOKEN'.",
                headers={"www-authenticate": "Bearer", "cache-control": "no-store"},
            )

        return guarded

    return decorate


def cookie_value(token: str) -> str:
    """What the login cookie holds: made from the token, so that the cookie does not give the token away."""
    return hmac.new(token.encode(), b"graft dashboard login", hashlib.sha256).hexdigest()


def _has_bearer(request: Request, token: str) -> bool:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and _equal(sent.strip(), token)


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode())
