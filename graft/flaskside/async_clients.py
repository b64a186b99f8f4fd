"""Which async clients does an app hold, or may it come to hold? They live on the loop that they first met, and break
on any other.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from flask import Flask

from graft.threads.loop_guards import subclasses

_PACKAGES = frozenset({"aiohttp", "asyncpg", "aiosqlite", "aiokafka", "aio_pika", "aiomysql", "motor", "grpc"})
# They have plain clients as well: whoever imports one may come to make an async one.
_MIXED_PACKAGES = frozenset(
    {"httpx", "httpx2", "psycopg", "psycopg_pool", "elasticsearch", "openai", "anthropic", "nats"}
)
_BOUND_TO_LOOP = (asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore, asyncio.Queue)
_CLOSING = frozenset({"close", "aclose", "disconnect", "dispose", "__aexit__"})
_NO_CLIENTS = frozenset(
    {"asyncio", "typing", "collections", "builtins", "asgiref", "flask", "werkzeug", "jinja2", "starlette", "uvicorn"}
    | {"graft", "embedded_elasticsearch", "anyio", "pytest", "_pytest", "concurrent", "contextlib", "prometheus_client"}
)


def held_clients() -> Iterator[str]:
    """``package.module.Class`` of each object in this process that is an async client. Nothing of it is called."""
    for value in gc.get_objects():
        kind: type = type(value)
        if is_client(kind):
            yield f"{kind.__module__}.{kind.__qualname__}"


def client_kinds() -> Iterator[type]:
    """The classes of async clients that are loaded, whether one of them exists or not."""
    for kind in subclasses(object):
        of_async_package = _is_of_async_package(str(kind.__module__))
        if (of_async_package or kind.__name__.startswith("Async")) and is_client(kind):
            yield kind


def used_clients(app: Flask) -> Iterator[str]:
    """``module.name`` of what the app's own modules have imported to make async clients with, perhaps later, and of the
    locks and queues of asyncio's that they hold."""
    for name, module in own_modules(app):
        for attribute, value in list(vars(module).items()):
            if (
                isinstance(value, _BOUND_TO_LOOP)
                or (isinstance(value, type) and is_client(value))
                or ((source := _module_of(value)) and (_is_of_async_package(source) or source in _MIXED_PACKAGES))
            ):
                yield f"{name}.{attribute}"


def own_modules(app: Flask, *modules: str) -> Iterator[tuple[str, ModuleType]]:
    """The loaded modules that are the app's own: of its package or that of ``modules``, or in its folder and not
    installed."""
    packages = {name.partition(".")[0] for name in (app.import_name, *modules)}
    folder = str(app.root_path) + os.sep
    for name, module in sys.modules.copy().items():  # another thread may import meanwhile
        file = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] in packages or (file.startswith(folder) and "site-packages" not in file):
            yield name, module


def _module_of(value: object) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    return str(value.__module__) if callable(value) and isinstance(getattr(value, "__module__", None), str) else ""


@cache
def is_client(kind: type) -> bool:
    """Told by names: ``AsyncClient`` with coroutines, or what ``redis.asyncio`` and its like have to be closed."""
    names = [name for name in dir(kind) if _is_coroutine_function(inspect.getattr_static(kind, name, None))]
    if not names or str(kind.__module__).partition(".")[0] in _NO_CLIENTS:
        return False
    if any(base.__name__.startswith("Async") for base in kind.__mro__):
        return True
    of_package = any(_is_of_async_package(str(base.__module__)) for base in kind.__mro__[:-1])
    return of_package and bool(_CLOSING & set(names))


def _is_coroutine_function(value: object) -> bool:
    # The type is asked first: a LocalProxy in a class would ask the request, and there is none.
    return hasattr(type(value), "__code__") and inspect.iscoroutinefunction(value)


def _is_of_async_package(module: str) -> bool:
    parts = module.split(".")
    return parts[0] in _PACKAGES or (parts[0] not in _NO_CLIENTS and bool({"asyncio", "aio"} & set(parts[1:])))
