"""The native routes: every module in GRAFT_NATIVE that has a ``routes`` list, or an app or router of a framework's."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeGuard

from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute

from graft.errors import NativeRoutesError
from graft.frameworks import is_a_frameworks, module_routes
from graft.routing.starlette_private import is_stock, takes_part_in
from graft.types import ANY, WEBSOCKET, RouteKey

SETTING = "GRAFT_NATIVE"

ANY_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""The keys of a route that takes every method, such as one with a class for its endpoint."""


@dataclass(frozen=True, slots=True)
class NativeRoute:
    """A route and the module that it was found in, and the ``Host`` that it stood in, if it did."""

    route: BaseRoute
    module: str
    within: Host | None = None

    @property
    def keys(self) -> tuple[RouteKey, ...]:
        """One key a method of an HTTP route, HEAD counted under GET; one for a WebSocket, one for all below a mount;
        nothing for a ``Host`` around an app, and for other kinds of routes."""
        if isinstance(self.route, WebSocketRoute):
            return (RouteKey(WEBSOCKET, self.route.path, self.host),)
        if isinstance(self.route, Mount):
            return (RouteKey(ANY, f"{self.route.path}/*", self.host),)
        if not isinstance(self.route, Route):
            return ()
        methods = self.route.methods or ANY_METHODS
        explicit = {method for method in methods if method != "HEAD" or "GET" not in methods}
        return tuple(RouteKey(method, self.route.path, self.host) for method in sorted(explicit))

    @property
    def host(self) -> str:
        """The host that it answers on, as it was written; empty for any."""
        return self.within.host if self.within is not None else ""

    @property
    def name(self) -> str:
        """The dotted name of the endpoint, as ``graft routes`` shows it."""
        endpoint = _unwrapped(getattr(self.route, "endpoint", None))
        kind = type(self.route.app if isinstance(self.route, Mount) else self.route)
        return f"{self.module}.{getattr(endpoint, '__qualname__', None) or kind.__name__}"

    @property
    def place(self) -> str:
        """``module (file:line)``, for messages about this route."""
        try:
            endpoint = _unwrapped(getattr(self.route, "endpoint", None))
            code = inspect.getsourcefile(endpoint), inspect.getsourcelines(endpoint)[1]
        except (TypeError, OSError):
            return self.module
        return f"{self.module} ({code[0]}:{code[1]})"


def discover(package: str) -> tuple[NativeRoute, ...]:
    """The routes of ``package`` and of its modules, by module name, then in the order in which a module lists them.

    The routes in a ``Host`` are taken one by one: Flask may have others on that host.
    Raises NativeRoutesError when the package or a module of it can't be imported, when ``routes`` is no list of routes,
    or when two modules claim one route.
    """
    modules = tuple(native_modules(package))
    of_frameworks = module_routes(modules)
    found = [
        native
        for module in modules
        for route in (*_routes_of(module), *of_frameworks[module.__name__])
        for native in _routes_below(route, module.__name__)
    ]
    _refuse_duplicates(found)
    return tuple(found)


def native_modules(package: str) -> Iterator[ModuleType]:
    """``package`` itself and every module below it, in alphabetical order; names that start with ``_`` are left out."""
    if os.getcwd() not in sys.path and not _is_found(package):  # the app may have changed the working directory
        sys.path.insert(0, os.getcwd())
    root = _import(package)
    yield root
    yield from _below(root)


def _is_found(package: str) -> bool:
    try:
        return find_spec(package.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _below(package: ModuleType) -> Iterator[ModuleType]:
    for info in sorted(pkgutil.iter_modules(getattr(package, "__path__", [])), key=lambda info: info.name):
        if info.name.startswith("_"):
            continue
        module = _import(f"{package.__name__}.{info.name}")
        yield module
        if info.ispkg:
            yield from _below(module)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise NativeRoutesError(
                f"{SETTING}={name}",
                f"there is no module {error.name!r} in {os.getcwd()} or the installed packages",
                "Make the folder, or name the package that holds your native routes.",
            ) from None
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> NativeRoutesError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return NativeRoutesError(
        SETTING,
        f"the module {name} fails to import: {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
        f"Mend it; 'python -c \"import {name}\"' shows the whole traceback.",
    )


def _routes_of(module: ModuleType) -> Iterable[BaseRoute]:
    routes = getattr(module, "routes", [])
    if isinstance(routes, ModuleType):  # a package has its module of that name as an attribute
        return []
    if not isinstance(routes, (list, tuple)) or not all(isinstance(route, BaseRoute) for route in routes):
        raise NativeRoutesError(
            SETTING,
            f"{module.__name__}.routes is not a list of Starlette routes",
            "Write routes = [Route('/path', endpoint), ...].",
        )
    return [route for route in routes if not is_a_frameworks(route)]


def _routes_below(route: BaseRoute, module: str) -> Iterator[NativeRoute]:
    """``route`` itself; those in it, for a ``Host`` around a router that looks up as Starlette's own does."""
    if _is_open_host(route):
        for inner in route.routes:
            yield NativeRoute(inner, module, route)
    else:
        yield NativeRoute(route, module)


def _is_open_host(route: BaseRoute) -> TypeGuard[Host]:
    is_stock_host = isinstance(route, Host) and is_stock(route, "matches") and is_stock(route, "handle")
    router = getattr(route, "app", None)
    return is_stock_host and isinstance(router, Router) and takes_part_in(router)


def _refuse_duplicates(found: Iterable[NativeRoute]) -> None:
    claimed: dict[tuple[str, str], NativeRoute] = {}
    for native in found:
        for claim in _claims(native):
            first = claimed.setdefault(claim, native)
            if first is not native:
                raise NativeRoutesError(
                    SETTING,
                    f"{' '.join(claim)} is claimed twice: by {first.place} and by {native.place}",
                    "Keep one of them.",
                )


def _claims(native: NativeRoute) -> list[tuple[str, str]]:
    route, host = native.route, _comparable(native.host)
    if not is_stock(route, "matches"):
        return []  # what it takes hangs on more than its path, as with a version in a header
    if isinstance(route, Mount):
        return [("Mount", host + _comparable(route.path))]
    if isinstance(route, (Route, WebSocketRoute)):
        return [(key.method, host + _comparable(key.path)) for key in native.keys]
    return [("Host", route.host)] if isinstance(route, Host) else []


def _comparable(path: str) -> str:
    """Parameters under any name claim the same paths, those of another converter do not."""
    return _NAMES.sub(r"{\1}", path)


def _unwrapped(endpoint: Any) -> Callable[..., Any]:
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    unwrapped: Callable[..., Any] = inspect.unwrap(endpoint) if callable(endpoint) else endpoint
    return unwrapped


_NAMES = re.compile(r"\{[a-zA-Z_]\w*((?::\w+)?)\}")
