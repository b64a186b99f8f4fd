"""The legacy app under a plain a2wsgi mount, with the native route beside it."""

from __future__ import annotations

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.routing import Mount

from benchmarks.apps.legacy import app
from benchmarks.apps.native import routes

plain = Starlette(routes=[*routes, Mount("/", WSGIMiddleware(app))])  # type: ignore[arg-type]
