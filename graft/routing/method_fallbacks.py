"""The corners of HTTP where one path belongs to both sides: methods, ``Allow``, automatic OPTIONS, slash redirects.

The answers are those that Flask would give if all the routes were its own.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from graft.request_record import RequestRecord
from graft.routing.router import RouteIndex
from graft.types import Scope


class Corners:
    """Immutable. ``legacy_has(path)`` tells whether the legacy app has a rule for a path; None: it can't be told."""

    def __init__(self, index: RouteIndex, legacy_has: Callable[[str], bool] | None) -> None:
        self._index = index
        self._legacy_has = legacy_has

    def answer(self, scope: Scope) -> Response | None:
        """The answer to a request that no native route takes, where the legacy app would call its path unknown.

        None leaves it to the legacy app. Raises HTTPException (405) for a native path that has not this method.
        """
        if self._legacy_has is None or not (self._index.ends_in_slash or RequestRecord.of(scope).has_other_methods):
            return None
        path = get_route_path(scope)
        native = self._index.methods(scope, path)
        if native:
            return None if self._legacy_has(path) else self._native_only(scope, native)
        if not path.endswith("/") and (with_slash := self._index.methods(scope, f"{path}/")):
            redirected = scope["method"] in with_slash | {"OPTIONS"} and not self._legacy_has(path)
            return _to_slash(scope) if redirected else None
        return None

    def complete(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> None:
        """Add the native methods of the path to the ``Allow`` of an answer, in place."""
        native = self._index.methods(scope, get_route_path(scope))
        for position, (name, value) in enumerate(headers):
            if name == b"allow" and native:
                legacy = {method.strip() for method in value.decode("latin-1").split(",")}
                headers[position] = (name, _listed(native | legacy).encode("latin-1"))

    @staticmethod
    def _native_only(scope: Scope, methods: set[str]) -> Response:
        allow = {"allow": _listed(methods | {"OPTIONS"})}
        if scope["method"] == "OPTIONS":
            return HTMLResponse("", headers=allow)
        raise HTTPException(405, headers=allow)


def _to_slash(scope: Scope) -> Response:
    """308, so that the method and the body are kept; to the path alone, so that no host header leads elsewhere."""
    query = scope["query_string"].decode("latin-1")
    path = quote("/" + scope["path"].lstrip("/"), safe="/:@!$&'()*+,;=~")
    return RedirectResponse(f"{path}/" + (f"?{query}" if query else ""), 308)


def _listed(methods: set[str]) -> str:
    return ", ".join(sorted(methods))
