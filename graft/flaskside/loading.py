"""From GRAFT_LEGACY, ``module:attribute``, to the WSGI app that it names."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial, reduce
from types import FunctionType, MethodType, ModuleType
from typing import Any

from flask import Flask
from werkzeug.local import LocalProxy

from graft.errors import LegacyAppError

SETTING = "GRAFT_LEGACY"

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def load(target: str) -> WSGIApp:
    """The WSGI app at ``target``: ``module:attribute``, where the attribute is an app or a factory of one.

    A factory is called with nothing, or with the literals written behind it: ``shop:create_app("production")``.
    Raises LegacyAppError that says in one line what was found and how to mend it.

    ContextVars that the import sets stay behind, as they stay in the main thread of a server with threads: an app
    context that is pushed at import would else be that of all requests, and ``flask.g`` be shared by all users.
    """
    return copy_context().run(_load, target)


def _load(target: str) -> WSGIApp:
    module_name, attribute = _split(target)
    name, call = _read_call(target, attribute)
    found = _attribute(target, _import(target, module_name), name)
    app = _call(target, found, *(call or ())) if call or _is_factory(found) else found
    _refuse_patched_libraries(target)
    return _checked(target, app)


def flask_apps(app: Any) -> Iterator[Flask]:
    """The Flask apps inside ``app``, each once, the outermost first.

    Looks into middlewares, dispatchers, closures, partials and bound methods. What is not found among a
    thousand objects is not looked for.
    """
    seen: set[int] = set()
    waiting = deque([app])
    while waiting and len(seen) < 1000:
        candidate = waiting.popleft()
        if id(candidate) in seen or issubclass(type(candidate), LocalProxy):  # a proxy has no app of its own
            continue
        seen.add(id(candidate))
        if isinstance(candidate, Flask):
            yield candidate
        waiting.extend(_inside(candidate))


def placed_apps(app: Any, prefix: str = "") -> tuple[tuple[str, Flask], ...]:
    """Each Flask app that ``app``, mounted at ``prefix``, leads to, with the path that it answers below: the outermost
    first, then those that dispatchers have below a path of their own."""
    outermost = next(flask_apps(app), None)
    if outermost is None:
        return ()
    places = list(flask_mounts(app))
    # Nearest the root where it stands in two places; at the root too where it was found by other ways than those.
    at = min((path for path, found in places if found is outermost), key=len, default="")
    mounted = ((prefix + path, inner) for path, inner in places if inner is not outermost and path)
    return ((prefix + at, outermost), *mounted)


def flask_mounts(app: Any, prefix: str = "", seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, Flask]]:
    """The Flask apps inside ``app`` with the path that dispatchers have them below; empty at the root."""
    attributes = getattr(app, "__dict__", {})
    if isinstance(app, LocalProxy) or id(app) in seen or len(seen) > 50:
        return
    if isinstance(app, Flask):
        yield prefix, app
    mounts = attributes.get("mounts")
    inner = [(prefix, attributes[name]) for name in _WRAPPED if name in attributes]
    if isinstance(mounts, dict):
        inner += [(prefix + path, mounted) for path, mounted in mounts.items()]
    for path, candidate in inner:
        yield from flask_mounts(candidate, path, seen | {id(app)})


def _inside(wsgi_app: Any) -> Iterator[Any]:
    """What a WSGI app may hand its requests to."""
    attributes = getattr(wsgi_app, "__dict__", {})
    yield from (attributes[name] for name in _WRAPPED if name in attributes)
    mounts = attributes.get("mounts")
    if isinstance(mounts, dict):
        yield from mounts.values()
    if isinstance(wsgi_app, MethodType):
        yield wsgi_app.__self__
    if isinstance(wsgi_app, partial):
        yield from (wsgi_app.func, *wsgi_app.args, *wsgi_app.keywords.values())
    for cell in getattr(wsgi_app, "__closure__", None) or ():
        try:
            if callable(cell.cell_contents):
                yield cell.cell_contents
        except ValueError:  # a cell that is still empty
            continue


_WRAPPED = ("app", "wsgi_app", "application", "_app", "wrapped", "__wrapped__")
"""The attributes under which middlewares keep what they stand around."""


def _split(target: str) -> tuple[str, str]:
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name.strip() or not attribute.strip():
        raise _error(target, "is not of the form module:attribute", "Write it as in shop.web:app or shop:create_app.")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise _error(target, "names a file, not a module", f"Write {dotted}:{attribute}.")
    return module_name.strip(), attribute.strip()


def _read_call(target: str, attribute: str) -> tuple[str, tuple[list[Any], dict[str, Any]] | None]:
    """``create_app("x", debug=True)`` -> its name and its literal arguments; a bare name has no call."""
    try:
        expression = ast.parse(attribute, mode="eval").body
        if isinstance(expression, ast.Call):
            arguments = [ast.literal_eval(argument) for argument in expression.args]
            keywords = {word.arg: ast.literal_eval(word.value) for word in expression.keywords if word.arg}
            return ast.unparse(expression.func), (arguments, keywords)
    except (SyntaxError, ValueError):
        raise _error(
            target,
            f"{attribute!r} is neither a name nor a call with literal arguments",
            "Write it as in shop.web:app or shop:create_app('production').",
        ) from None
    return attribute, None


def _import(target: str, module_name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise _error(
                target,
                f"there is no module {error.name!r} in {os.getcwd()} or the installed packages",
                "Start in the folder that holds it, install it, or put its folder on PYTHONPATH.",
            ) from None
        raise _raised(target, f"importing {module_name!r}", error) from error
    except (Exception, SystemExit) as error:
        raise _raised(target, f"importing {module_name!r}", error) from error


def _attribute(target: str, module: ModuleType, name: str) -> Any:
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError:
        others = [other for other, value in vars(module).items() if _could_be_meant(value)]
        mend = f"It has {', '.join(others)}." if others else "Name the app object, or the function that makes it."
        raise _error(target, f"module {module.__name__!r} has no {name!r}", mend) from None


def _could_be_meant(value: Any) -> bool:
    return isinstance(value, Flask) or (
        isinstance(value, FunctionType) and value.__name__ in ("create_app", "make_app")
    )


def _is_factory(found: Any) -> bool:
    """A function or class that can be called with nothing, and does not look like a WSGI app itself."""
    if not isinstance(found, type) and not inspect.isroutine(found):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    takes_any = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    required = [one for one in positional if one.default is one.empty]
    return not required and not (takes_any and not positional)


def _call(target: str, factory: Any, arguments: Iterable[Any] = (), keywords: dict[str, Any] | None = None) -> Any:
    try:
        return factory(*arguments, **(keywords or {}))
    except (Exception, SystemExit) as error:
        raise _raised(target, f"calling {getattr(factory, '__name__', factory)!r}", error) from error


def _checked(target: str, app: Any) -> WSGIApp:
    if not callable(app):
        raise _error(
            target,
            f"leads to {_described(app)}, which is not callable",
            "Name a Flask app, a factory such as create_app, or any WSGI callable.",
        )
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        raise _error(
            target,
            f"leads to {_described(app)}, which is an ASGI app",
            "GRAFT_LEGACY takes the WSGI side; mount ASGI apps as native routes in GRAFT_NATIVE.",
        )
    try:
        inspect.signature(app).bind({}, lambda *_: None)
    except TypeError:
        raise _error(
            target,
            f"leads to {_described(app)}, which can't be called as a WSGI app (environ, start_response)",
            "A factory's arguments need defaults, or write them out as in shop:create_app('production').",
        ) from None
    except ValueError:
        pass
    result: WSGIApp = app
    return result


def _refuse_patched_libraries(target: str) -> None:
    """gevent and eventlet replace sockets, threads and selectors of the whole process by ones that only their own loop
    moves on: the server's loop, and its worker threads, would stand still."""
    patches = {"gevent.monkey.patch_all": _patched_by_gevent, "eventlet.monkey_patch": _patched_by_eventlet}
    for function, patched in patches.items():
        if modules := sorted(patched()):
            raise _error(
                target,
                f"the app has {', '.join(modules)} patched by {function}()",
                "Graft runs it in threads. Patch in the program that starts the other server, not in this app.",
            )


def _patched_by_gevent() -> Iterator[str]:
    """gevent.monkey is asked only where it is loaded: importing it here would load it for every app."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        yield from (name for name in _NEEDED_AS_THEY_ARE if monkey.is_module_patched(name))


def _patched_by_eventlet() -> Iterator[str]:
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None:
        yield from (name for name in ("os", "select", "socket", "thread", "time") if patcher.is_monkey_patched(name))


_NEEDED_AS_THEY_ARE = ("_thread", "queue", "select", "selectors", "socket", "ssl", "thread", "threading", "time")


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__} ({str(value)[:60]!r})"


def _raised(target: str, doing: str, error: BaseException) -> LegacyAppError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _error(
        target,
        f"{doing} raised {said} ({frame.filename}:{frame.lineno})",
        "The app must start by itself first: try it with 'flask --app ... run'.",
    )


def _error(target: str, found: str, mend: str) -> LegacyAppError:
    return LegacyAppError(f"{SETTING}={target}", found, mend)
