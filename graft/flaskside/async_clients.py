"""Which async clients does an app hold? They live on the loop that they first met, and break on any other."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from functools import cache

_PACKAGES = frozenset({"aiohttp", "asyncpg", "aiosqlite", "aiokafka", "aio_pika", "aiomysql", "motor", "grpc"})
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
    """Told by the name of the class or of its module, as ``AsyncClient`` or ``redis.asyncio``, if it has coroutines."""
    return any(map(_is_named_so, kind.__mro__[:-1])) and any(
        inspect.iscoroutinefunction(inspect.getattr_static(kind, name, None)) for name in dir(kind)
    )


def _is_named_so(kind: type) -> bool:
    parts = str(kind.__module__).split(".")
    if parts[0] in _NO_CLIENTS:
        return False
    return kind.__name__.startswith("Async") or parts[0] in _PACKAGES or bool({"asyncio", "aio"} & set(parts[1:]))
