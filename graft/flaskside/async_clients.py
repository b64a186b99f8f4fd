"""Which async clients does an app hold? They live on the loop that they first met, and break on any other."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from functools import cache

_PACKAGES = frozenset({"aiohttp", "asyncpg", "aiosqlite", "aiokafka", "aio_pika", "aiomysql", "motor", "grpc"})
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


@cache
def is_client(kind: type) -> bool:
    """Told by names: ``AsyncClient`` with coroutines, or what ``redis.asyncio`` and its like have to be closed."""
    names = [name for name in dir(kind) if inspect.iscoroutinefunction(inspect.getattr_static(kind, name, None))]
    if not names or str(kind.__module__).partition(".")[0] in _NO_CLIENTS:
        return False
    if any(base.__name__.startswith("Async") for base in kind.__mro__):
        return True
    return any(map(_is_of_async_package, kind.__mro__[:-1])) and bool(_CLOSING & set(names))


def _is_of_async_package(kind: type) -> bool:
    parts = str(kind.__module__).split(".")
    return parts[0] in _PACKAGES or bool({"asyncio", "aio"} & set(parts[1:]))
