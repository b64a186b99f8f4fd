"""Native pages from the portal's own templates, rendered without Flask."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from legacy_flask.hooks import SECURITY_HEADERS

TEMPLATES = Path(__file__).parent.parent / "legacy_flask" / "templates"

# Where the portal has what its templates link to.
ADDRESSES = {
    "static": "/static/{filename}",
    "pages.home": "/",
    "pages.browse": "/browse",
    "pages.article": "/articles/{article_id}",
    "pages.about": "/about",
    "bookmarks.listing": "/bookmarks",
    "uploads.listing": "/uploads",
    "auth.login": "/login",
    "auth.logout": "/logout",
    "auth.register": "/register",
    "exports.export": "/export.csv",
    "api.listing": "/api/articles",
}


@jinja2.pass_context
def url_for(context: jinja2.runtime.Context, endpoint: str, **values: Any) -> str:
    """What Flask's ``url_for`` gives for the portal's endpoints, in a template that is rendered outside Flask."""
    template = ADDRESSES[endpoint]
    in_path = {name: quote(str(value)) for name, value in values.items() if f"{{{name}}}" in template}
    in_query = {name: value for name, value in values.items() if name not in in_path and value is not None}
    address = context["request"].scope.get("root_path", "") + template.format(**in_path)
    return f"{address}?{urlencode(in_query)}" if in_query else address


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    environment.globals.update(url_for=url_for, get_flashed_messages=lambda **options: [])
    environment.filters["thousands"] = "{:,}".format
    return environment


_templates = Jinja2Templates(env=_environment())


def render(request: Request, template: str, context: dict[str, Any], status: int = 200) -> Response:
    """``template`` as a page of the portal, with the headers that all its pages have."""
    context = {"here": request.url.path, **context}
    return _templates.TemplateResponse(request, template, context, status, headers=SECURITY_HEADERS)
