"""All that Graft uses of Starlette's private and undocumented parts, and nothing else does.

Read in Starlette 1.0 to 1.10. Every part is looked for when this module is imported. Where one is gone that Graft can
do without, something else stands in for it, and ``fallbacks`` says what; where one is gone that it can't do without,
or the version is none that it knows, ``require`` raises the one line that says so.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from packaging.version import Version
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute

from graft.errors import SettingError
from graft.types import Receive, Scope, Send

LOWEST, BELOW = "1.0", "2"
"""The supported versions, as in pyproject.toml: from the first, up to but without the second."""

HANDLERS_KEY = "starlette.exception_handlers"
"""Where ExceptionMiddleware leaves an app's exception handlers for the routes, in the scope."""

fallbacks: list[str] = []
"""What the installed Starlette lacks, and what Graft does instead: a sentence each. Complete after the import."""


def _part(module: str, name: str, fallback: Any, instead: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        fallbacks.append(f"{module}.{name} is gone: {instead}")
        return fallback


def _route_path(scope: Scope) -> str:
    """The path below ``root_path``: as in Starlette 1.10."""
    path: str = scope["path"]
    root_path = scope.get("root_path", "")
    if not root_path or not path.startswith(root_path):
        return path
    below = path[len(root_path) :]
    return below if not below or below[0] == "/" else path


def _is_async(function: Any) -> bool:
    """Whether a call of ``function`` gives something to await: as in Starlette 1.10."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or (
        callable(function) and inspect.iscoroutinefunction(function.__call__)
    )


def _debug_page(self: Any, request: Request, error: Exception) -> Response:
    return PlainTextResponse("".join(traceback.format_exception(error)), 500)


route_path: Callable[[Scope], str] = _part(
    "starlette._utils", "get_route_path", _route_path, "Graft's own copy is used"
)
is_async: Callable[[Any], bool] = _part("starlette._utils", "is_async_callable", _is_async, "Graft's own copy is used")
_request_response = _part(
    "starlette.routing", "request_response", None, "every route is called through Starlette's wrapper, which is slower"
)
_PLAIN = getattr(_request_response(lambda request: request), "__code__", None) if _request_response else None
"""The code of the app that Starlette makes of a function; a route with middleware has another."""

if not hasattr(ServerErrorMiddleware, "debug_response"):
    fallbacks.append("ServerErrorMiddleware.debug_response is gone: debug pages are plain text")


def debug_page(request: Request, error: Exception) -> Response:
    """Starlette's page for an exception in debug mode, with the traceback."""
    page = getattr(ServerErrorMiddleware, "debug_response", _debug_page)
    response: Response = page(ServerErrorMiddleware(_never_called), request, error)
    return response


def plain_endpoint(route: Any) -> Callable[[Request], Any] | None:
    """The endpoint of ``route`` where its app is Starlette's wrapper around a function and nothing more, to await.

    One that blocks is called in a thread, as Starlette does.
    """
    if _PLAIN is None or getattr(route.app, "__code__", None) is not _PLAIN:
        return None
    endpoint: Callable[[Request], Any] = route.endpoint
    return endpoint if is_async(endpoint) else partial(run_in_threadpool, endpoint)  # type: ignore[call-arg]


def is_stock(route: BaseRoute, method: str) -> bool:
    """Whether neither a subclass nor the object itself has a ``method`` of its own in place of Starlette's."""
    stock = next((kind for kind in (Route, Mount, WebSocketRoute, Host) if isinstance(route, kind)), None)
    return stock is not None and getattr(type(route), method) is getattr(stock, method) and method not in vars(route)


def handlers_of(middleware: ExceptionMiddleware) -> tuple[Any, Any] | None:
    """What ``middleware`` would put at HANDLERS_KEY. None where it can't be told: errors travel further out then."""
    try:
        return middleware._exception_handlers, middleware._status_handlers
    except AttributeError:
        return None


def takes_part_in(router: Router) -> bool:
    """Whether ``router`` looks routes up as Starlette's own does, so that another look-up may take that place."""
    kind = type(router)
    plain = kind.app is Router.app and kind.__call__ is Router.__call__
    return plain and getattr(router, "middleware_stack", None) == router.app


def require() -> None:
    """Raises SettingError where the installed Starlette can't be worked with: library, found, supported."""
    if _refusal is not None:
        raise SettingError(*_refusal)


def _why_not() -> tuple[str, str, str] | None:
    found = version("starlette")
    mend = f"Install a version that is supported: pip install 'starlette>={LOWEST},<{BELOW}'."
    if not Version(LOWEST).release <= Version(found).release < Version(BELOW).release:
        return f"starlette {found}", "is not a version that Graft was tested with", mend
    try:
        missing = next(_missing(), None)
    except (AttributeError, NameError) as error:  # Starlette itself trips over it
        missing = str(error)
    return None if missing is None else (f"starlette {found}", f"lacks a part that Graft needs ({missing})", mend)


def _missing() -> Iterator[str]:
    """The parts of routers, routes and middleware that Graft can't do without."""
    route = Route("/", _never_called)
    required = (
        (Router(), ("app", "middleware_stack", "routes", "default", "redirect_slashes")),
        (route, ("app", "endpoint", "methods", "path", "path_regex", "param_convertors", "matches", "handle")),
        (Mount("/m", _never_called), ("app", "path", "path_regex", "matches", "handle")),
        (Match, ("FULL", "PARTIAL", "NONE")),
        (Starlette(), ("router", "routes", "user_middleware", "middleware_stack", "exception_handlers", "debug")),
        (ExceptionMiddleware(_never_called), ("app",)),
        (ServerErrorMiddleware(_never_called), ("app",)),
        (import_module("starlette.routing"), ("compile_path",)),
    )
    for owner, names in required:
        for name in names:
            if not hasattr(owner, name):
                yield f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"


async def _never_called(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where Starlette expects an app."""


if handlers_of(ExceptionMiddleware(_never_called)) is None:
    fallbacks.append(
        "ExceptionMiddleware's handlers are gone: middleware of a route or a mount sees exceptions as such"
    )
_refusal = _why_not()

__all__ = [
    "BELOW",
    "HANDLERS_KEY",
    "LOWEST",
    "debug_page",
    "fallbacks",
    "handlers_of",
    "is_async",
    "is_stock",
    "plain_endpoint",
    "require",
    "route_path",
    "takes_part_in",
]
