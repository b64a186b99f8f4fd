"""Who may use the control plane: whoever has a token, as a bearer or in the dashboard's login cookie.

``graft open`` gives a link that carries the admin token behind a ``#``: browsers never send that part, so no log has
it. The dashboard's script hands it to ``login`` and gets a cookie, good for a week, sent to ``/_graft`` alone, and kept
from scripts. A request with the cookie that changes something has to come from the dashboard's own pages. Guesses are
throttled by address, in each worker; the right token is let in all the same, so that nobody can lock others out.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from graft.control.bodies import json_object
from graft.control.logins import LIFETIME, Logins
from graft.control.throttle import Throttle
from graft.control.tokens import Role, Token, Tokens

Endpoint = Callable[[Request], Awaitable[Response]]

COOKIE = "graft_admin"

log = logging.getLogger("graft.control")


class AccessControl:
    """Lets in who has one of ``tokens``. One for a worker: it remembers who guessed wrong."""

    def __init__(self, tokens: Tokens, logins: Logins, throttle: Throttle | None = None) -> None:
        self._tokens = tokens
        self._logins = logins
        self._throttle = throttle or Throttle()

    def closed(self, endpoint: Endpoint, role: Role = Role.VIEWER) -> Endpoint:
        """Close an endpoint to requests without a token: they get 401, or 429 after too many wrong ones. A viewer's
        gets 403 where ``role`` is operator. ``request.state.token`` is whose it is."""

        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            token = request.state.token = await self._token_of(request)
            if role is Role.OPERATOR and token.role is not Role.OPERATOR:
                raise HTTPException(403, f"{token.name} may look and change nothing: the token's role is {token.role}.")
            response = await endpoint(request)
            response.headers.setdefault("cache-control", "no-store")
            return response

        return guarded

    async def login(self, request: Request) -> Response:
        """POST {"token": "..."} -> 204 and the cookie."""
        if not same_origin(request, missing=True):
            raise HTTPException(403, "Log in from the dashboard's own page.")
        sent = (await json_object(request)).get("token")
        if not isinstance(sent, str):
            raise HTTPException(400, 'Send {"token": "..."}.')
        token = self._tokens.find(sent.strip())
        if token is None:
            raise self._wrong(request)
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        self._set_cookie(request, response, self._logins.begin(token), LIFETIME)
        log.info("%s logged in to the dashboard from %s", token.name, address_of(request))
        return response

    async def logout(self, request: Request) -> Response:
        """POST -> 204; the cookie is taken back, and worth nothing from here on."""
        if not same_origin(request, missing=True):
            raise HTTPException(403, "Log out from the dashboard's own page.")
        cookie = request.cookies.get(COOKIE)
        if cookie:
            await asyncio.to_thread(self._logins.end, cookie)
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        self._set_cookie(request, response, "", 0)
        return response

    async def _token_of(self, request: Request) -> Token:
        bearer, cookie = _bearer(request), request.cookies.get(COOKIE)
        if bearer is None and not cookie:
            raise _unauthorized("The admin token is missing.")
        if bearer is not None:
            token = self._tokens.find(bearer)
        else:
            token = await asyncio.to_thread(self._logins.find, cookie or "")
        if token is None:
            raise self._wrong(request)
        if bearer is None and request.method not in ("GET", "HEAD") and not same_origin(request):
            raise HTTPException(403, "A change with the login cookie has to come from the dashboard's own page.")
        return token

    def _wrong(self, request: Request) -> HTTPException:
        """401, or 429 for an address that has guessed too often. What a right token would get does not depend on it."""
        address = address_of(request)
        seconds = self._throttle.wait(address)
        if seconds:
            return HTTPException(
                429,
                "Too many wrong tokens from this address.",
                {"retry-after": str(seconds), "cache-control": "no-store"},
            )
        self._throttle.failed(address)
        log.warning("wrong admin token from %s", address)
        return _unauthorized("The admin token is wrong.")

    @staticmethod
    def _set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def same_origin(request: Request, *, missing: bool = False) -> bool:
    """Did a page of this very site send the request? ``missing`` is the answer where the client is no browser and tells
    nothing of it.

    Browsers say it by ``Sec-Fetch-Site`` and ``Origin``; for those that say neither, ``Referer`` counts.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    page = request.headers.get("origin", request.headers.get("referer"))
    if page is None:
        return site is not None or missing
    return _host_of(page) == request.headers.get("host", "").lower() != ""


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:  # such as "http://["
        return None


def _bearer(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, sent = header.partition(" ")
    return sent.strip() if scheme.lower() == "bearer" else None


def _unauthorized(reason: str) -> HTTPException:
    return HTTPException(
        401,
        f"{reason} Send it as 'Authorization: Bearer TOKEN'.",
        {"www-authenticate": "Bearer", "cache-control": "no-store"},
    )
