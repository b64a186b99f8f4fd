"""A hundred native routes with parameters; the last one in the list is the one that is asked for."""

from __future__ import annotations

from starlette.routing import Route

from benchmarks.apps.native import native

routes = [Route(f"/section{number}/{{id:int}}/view", native) for number in range(100)]
