"""The native routes in a Starlette app of their own, with nothing around them."""

from __future__ import annotations

from starlette.applications import Starlette

from benchmarks.apps import hundred, native

one = Starlette(routes=native.routes)
many = Starlette(routes=hundred.routes)
