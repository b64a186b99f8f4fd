"""Who may use the control plane: whoever has the admin token, as a bearer or in the dashboard's login cookie.

The link that is printed at start carries the token behind a ``#``: browsers never send that part, so no log has it. The
dashboard's script hands it to ``login`` and gets a cookie that was made from the token, good for a week, sent to
``/_graft`` alone, and kept from scripts. A request with the cookie that changes something has to come from the
dashboard's own pages. Guesses are throttled by address, in each worker.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from itsdangerous import BadData, TimestampSigner
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from graft.control.bodies import json_object
from graft.control.throttle import Throttle

Endpoint = Callable[[Request], Awaitable[Response]]

COOKIE = "graft_admin"
LIFETIME = 7 * 24 * 3600
"""Seconds that a login is good for. Another token ends all logins at once."""

log = logging.getLogger("graft.control")


class AccessControl:
    """Lets in who has ``token``. One for a worker: it remembers who guessed wrong."""

    def __init__(self, token: str, throttle: Throttle | None = None) -> None:
        self._token = token
        self._throttle = throttle or Throttle()

    def closed(self, endpoint: Endpoint) -> Endpoint:
        """Close an endpoint to requests without the token: they get 401, or 429 after too many wrong ones."""

        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            self._check(request)
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
        self._refuse_while_throttled(request)
        if not _equal(sent.strip(), self._token):
            self._refuse_wrong(request)
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        self._set_cookie(request, response, cookie_value(self._token), LIFETIME)
        log.info("logged in to the dashboard from %s", address_of(request))
        return response

    async def logout(self, request: Request) -> Response:
        """POST -> 204; the cookie is taken back."""
        if not same_origin(request, missing=True):
            raise HTTPException(403, "Log out from the dashboard's own page.")
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        self._set_cookie(request, response, "", 0)
        return response

    def _check(self, request: Request) -> None:
        bearer, cookie = _bearer(request), request.cookies.get(COOKIE)
        if bearer is None and not cookie:
            raise _unauthorized("The admin token is missing.")
        self._refuse_while_throttled(request)
        if bearer is not None:
            if not _equal(bearer, self._token):
                self._refuse_wrong(request)
        elif not _is_login(cookie or "", self._token):
            self._refuse_wrong(request)
        elif request.method not in ("GET", "HEAD") and not same_origin(request):
            raise HTTPException(403, "A change with the login cookie has to come from the dashboard's own page.")

    def _refuse_while_throttled(self, request: Request) -> None:
        seconds = self._throttle.wait(address_of(request))
        if seconds:
            raise HTTPException(
                429,
                "Too many wrong tokens from this address. 'graft rollback' on the server works meanwhile.",
                {"retry-after": str(seconds), "cache-control": "no-store"},
            )

    def _refuse_wrong(self, request: Request) -> None:
        address = address_of(request)
        self._throttle.failed(address)
        log.warning("wrong admin token from %s", address)
        raise _unauthorized("The admin token is wrong.")

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


def cookie_value(token: str) -> str:
    """What the login cookie holds: signed with the token, so that the cookie does not give the token away."""
    return _signer(token).sign("admin").decode()


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


def _is_login(cookie: str, token: str) -> bool:
    try:
        _signer(token).unsign(cookie, max_age=LIFETIME)
    except BadData:
        return False
    return True


def _signer(token: str) -> TimestampSigner:
    key = token.encode("utf-8", "surrogatepass")
    return TimestampSigner(key, salt="graft dashboard login", key_derivation="hmac", digest_method=hashlib.sha256)


def _bearer(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, sent = header.partition(" ")
    return sent.strip() if scheme.lower() == "bearer" else None


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


def _unauthorized(reason: str) -> HTTPException:
    return HTTPException(
        401,
        f"{reason} Send it as 'Authorization: Bearer TOKEN'.",
        {"www-authenticate": "Bearer", "cache-control": "no-store"},
    )
