"""Method fallbacks: what one path of two sides answers to a method that only one of them has, or that neither has.

405 and its ``Allow``, automatic OPTIONS, redirects to the path with a slash: the answers are those that Flask would
give if all the routes were its own.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from graft.frameworks import preflights
from graft.request_record import RequestRecord
from graft.routing.router import IndexedRouter
from graft.routing.starlette_private import route_path
from graft.types import ASGIApp, Message, Receive, Scope, Send, Side

LegacyHas = Callable[[str, Scope], bool]
"""Tells whether the legacy app has a rule for a path on the host of a scope, whatever the method."""


class MethodFallbacks:
    """For requests that no native route takes; asked on the event loop, before the legacy app is.

    Without ``legacy_has`` it can't be told which paths the legacy app knows: then it gets all of them.
    """

    def __init__(self, router: IndexedRouter, legacy_has: LegacyHas | None) -> None:
        self._router = router
        self._legacy_has = legacy_has

    def answer(self, scope: Scope, record: RequestRecord) -> ASGIApp | None:
        """The answer where the legacy app would call the path unknown; None leaves it to the legacy app.

        Raises HTTPException (405) for a native path that has not this method.
        """
        index = self._router.index
        if record.has_other_methods and (method := preflights.method_asked_for(scope)) is not None:
            route = index.route_of(scope, route_path(scope), method)
            if (app := preflights.app_for(route, method, scope)) is not None:
                return preflights.asking_first(app, self._without_preflight(scope, record) or self._of_the_legacy_app)
        return self._without_preflight(scope, record)

    def _without_preflight(self, scope: Scope, record: RequestRecord) -> ASGIApp | None:
        index = self._router.index
        if self._legacy_has is None or not (record.has_other_methods or index.ends_in_slash):
            return None
        path = route_path(scope)
        native = index.methods(scope, path)
        if native:
            return None if self._legacy_has(path, scope) else self._native_only(scope, native)
        if not path.endswith("/") and (with_slash := index.methods(scope, f"{path}/")):
            redirected = scope["method"] in with_slash | {"OPTIONS"} and not self._legacy_has(path, scope)
            return _to_slash(scope) if redirected else None
        return None

    def with_native_methods(self, scope: Scope, send: Send) -> Send:
        """A ``send`` that adds the native methods of the path to the ``Allow`` of the legacy app's answer."""
        methods = self._router.index.methods(scope, route_path(scope))

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start" and (message["status"] == 405 or scope["method"] == "OPTIONS"):
                headers = [_allowing(methods, header) for header in message.get("headers", ())]
                message = {**message, "headers": headers}
            await send(message)

        return send_more

    async def _of_the_legacy_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        RequestRecord.of(scope).side = Side.LEGACY
        assert self._router.rest is not None
        await self._router.rest(scope, receive, self.with_native_methods(scope, send))

    @staticmethod
    def _native_only(scope: Scope, methods: set[str]) -> Response:
        allow = {"allow": _listed(methods | {"OPTIONS"})}
        if scope["method"] == "OPTIONS":
            return HTMLResponse("", headers=allow)
        raise HTTPException(405, headers=allow)


def _allowing(native: set[str], header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name.lower() != b"allow":
        return header
    legacy = {method.strip() for method in value.decode("latin-1").split(",")}
    return name, _listed(native | legacy).encode("latin-1")


def _to_slash(scope: Scope) -> Response:
    """308, so that the method and the body are kept; to the path alone, so that no host header leads elsewhere."""
    query = scope["query_string"].decode("latin-1")
    path = quote("/" + scope["path"].lstrip("/"), safe="/:@!$&'()*+,;=~")
    return RedirectResponse(f"{path}/" + (f"?{query}" if query else ""), 308)


def _listed(methods: set[str]) -> str:
    return ", ".join(sorted(methods))
