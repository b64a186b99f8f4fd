"""Who tries it: what a few libraries do for the whole process is no deed of the request in which they come to do it.

Looked at only when something is about to be refused. The way up ends where the run began: at the end of its thread, or
at the event loop.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from graft.mirroring.fence import Kind

_LOOPS = ("asyncio.events", "asyncio.base_events", "asyncio.runners")

_REPORTS = (
    "logging",
    "concurrent_log_handler",
    "loguru._handler",
    "sentry_sdk.client",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk._logs",
)
"""Log lines and events are written, of mirrored work too; but no mail is sent for them. None of these modules calls an
app's code, as decorators do: what is done below them is theirs."""
_IMPORTS = ("importlib._bootstrap", "importlib._bootstrap_external")
"""What a module does while it is imported is done once a process, whoever comes first; half an import would do harm."""
_CACHES = ("tempfile", "jinja2.bccache", "prometheus_client.values", "prometheus_client.mmap_dict")
"""Temporary files, compiled templates, a process's figures."""

_POOLS = frozenset(
    {
        "aiosqlite",
        "anyio",
        "asgiref",
        "asyncio",
        "concurrent",
        "elastic_transport",
        "graft",
        "grpc",
        "opentelemetry",
        "psycopg_pool",
        "pymongo",
        "redis",
        "sentry_sdk",
        "sqlalchemy",
        "urllib3",
        "uvloop",
    }
)
"""Libraries that start threads for all requests. What a request has them do there is seen where it hands it over."""


def is_excused(kind: Kind, asking: str | None = None) -> bool:
    """Whether it is done by an import, by a log handler, or for a cache. The module ``asking`` does it for another."""
    for name in _modules(sys._getframe(1)):
        if name == asking:
            continue
        if name in _IMPORTS or (kind is Kind.FILES and _is_of(name, _CACHES)):
            return True
        if kind is not Kind.MAIL and _is_of(name, _REPORTS):
            return True
    return False


def starts_pool_thread() -> bool:
    """Whether the thread that is being started belongs to a library which has it for all requests."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name != "threading" and not name.startswith("graft.mirroring.fences."):
            return name.partition(".")[0] in _POOLS
        frame = frame.f_back
    return False


def name_of(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _is_of(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _modules(frame: FrameType | None) -> Iterator[str]:
    """The names of the modules whose code is running, from the inside out, up to where the run began."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name in _LOOPS:
            return
        yield name
        frame = frame.f_back
