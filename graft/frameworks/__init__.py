"""Frameworks beside Starlette: what a native module of FastAPI's or Quart's exports, as native routes.

Each path operation and each rule is a route of its own, with a switch, and is answered by the module's whole app: its
dependencies, middleware and exception handlers stand around it as in a server of its own. No framework is imported
here that a native module has not imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from graft.frameworks.hosted_app import HostedApp

if TYPE_CHECKING:
    _RoutesOf = Callable[[Sequence[ModuleType]], Iterable[tuple[str, list[BaseRoute]]]]

__all__ = ["HostedApp", "is_a_frameworks", "module_routes"]


def module_routes(modules: Sequence[ModuleType]) -> dict[str, list[BaseRoute]]:
    """By module name, the native routes of what ``modules`` export as ``app`` and ``router``, and of what FastAPI made
    of their ``routes``; nothing for a module of Starlette's alone.

    An app that two modules export is the first one's, a router that is part of an app is served by that app.
    """
    found: dict[str, list[BaseRoute]] = {module.__name__: [] for module in modules}
    for routes_of in _frameworks():
        for name, routes in routes_of(modules):
            found[name].extend(routes)
    return found


def is_a_frameworks(route: BaseRoute) -> bool:
    """Whether ``route`` is of a kind that ``module_routes`` has, wherever it stands, and that works in no other app."""
    return any(kind.__module__.startswith("fastapi.") for kind in type(route).__mro__)


def _frameworks() -> Iterator[_RoutesOf]:
    if "fastapi" in sys.modules:
        from graft.frameworks import fastapi_routes

        yield fastapi_routes.of
    if "quart" in sys.modules:
        from graft.frameworks import quart_routes

        yield quart_routes.of
