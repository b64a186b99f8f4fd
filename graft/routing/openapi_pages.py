"""``/openapi.json`` and ``/docs``: the native operations of all modules, for whom GRAFT_OPENAPI lets see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from graft.flaskside.rules import LegacyRule
from graft.routing.native import NativeRoute, discover
from graft.routing.openapi import Document, document
from graft.routing.table import RouteTable
from graft.settings import OpenAPIPages, Settings


def route_table(settings: Settings, rules: Iterable[LegacyRule]) -> RouteTable:
    """The table of the native routes of ``settings`` and of ``rules``; with the two pages where they are open.

    A path that a native route or a rule has is theirs. Raises NativeRoutesError as ``discover`` does.
    """
    natives, rules = discover(settings.native), tuple(rules)
    if settings.openapi is not OpenAPIPages.OPEN:
        return RouteTable(natives, rules)
    pages = _Pages()
    taken = {key.path for native in natives for key in native.keys} | {rule.key.path for rule in rules}
    own = [NativeRoute(route, __name__) for route in pages.routes() if route.path not in taken]
    pages.table = RouteTable((*natives, *own), rules)
    return pages.table


class _Pages:
    table: RouteTable

    def routes(self) -> Iterator[Route]:
        yield Route("/openapi.json", self.json, include_in_schema=False)
        yield Route("/docs", self.docs, include_in_schema=False)

    @cached_property
    def _document(self) -> Document:
        return document(self.table, title="Native routes", native_only=True)

    async def json(self, request: Request) -> Response:
        return JSONResponse(self._document)

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(_PAGE.replace("{url}", f"{request.scope.get('root_path', '')}/openapi.json"))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Native routes</title>
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css">
</head>
<body>
<div id="ui"><p>The same as JSON: <a href="{url}">{url}</a></p></div>
<script src="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "{url}", dom_id: "#ui"})</script>
</body>
</html>
"""
