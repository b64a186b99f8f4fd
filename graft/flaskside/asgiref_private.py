"""asgiref's parts without a documentation that async views need. No other file touches one.

Read in asgiref 3.9 to 3.13. They are looked for when this module is imported. Where one is missing async views still
run; ``MISSING`` says what is worse for it, and the start logs that.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from asgiref import local, sync

T = TypeVar("T")

MISSING: list[str] = []
"""A sentence for each part that the installed asgiref does not have."""

_executors: Any = getattr(getattr(sync, "AsyncToSync", None), "executors", None)
if _executors is None:
    MISSING.append(
        "asgiref has no AsyncToSync.executors: sync_to_async in a Flask view runs in a thread of asgiref's own and not "
        "in the request's"
    )

_threadlocal: Any = getattr(getattr(sync, "SyncToAsync", None), "threadlocal", None)
# Both in newer versions only: they tag what a Local holds with a thread. Without them nothing needs a new tag.
_Storage: Any = getattr(local, "_Storage", ())
_rehome: Any = getattr(local, "_rehome", None)
if _Storage != () and _rehome is None:
    MISSING.append("asgiref has no local._rehome: what an async Flask view sets in a Local is lost after it")


def lend(executor: Executor) -> None:
    """Have thread-sensitive ``sync_to_async`` calls of the calling context run in ``executor``."""
    if _executors is not None:
        _executors.current = executor


def lent() -> Any:
    """The executor that thread-sensitive calls of the calling context run in, None where none was lent."""
    return getattr(_executors, "current", None)


async def call_in_lent(fn: Callable[[], T]) -> T:
    """Call ``fn()`` in the thread of the executor that was lent, with the caller's ContextVars."""
    return await sync.sync_to_async(fn)()


def brought_back(value: object, lent: Executor) -> Any:
    """``value`` of a ContextVar that comes back from the loop, as the calling thread may keep it; None for the one that
    ``lend`` set there."""
    if not isinstance(value, _Storage):
        return value
    if value.data.get("current") is lent:
        return None
    return _rehome(value) if _rehome is not None else value


def forget_main_loop() -> None:
    """The calling thread's next request may be another loop's."""
    if _threadlocal is not None:
        _threadlocal.main_event_loop = None
