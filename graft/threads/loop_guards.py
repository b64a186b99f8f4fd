"""What the coroutines of one loop share, changed by one of them at a time.

asyncio's locks, queues and streams, and the clients that are built on them, count on it that between two awaits nobody
else runs. A step that has lost its loop's lock (loop_lock.py) runs beside the others. So their methods take the lock
first: from there to its next await the step has the loop to itself again. Everywhere else they are as they were: one
look at a ``threading.local``.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType
from typing import Any

from graft.threads.thread_task import have_lock

_MARK = "__graft_guarded__"


def subclasses(kind: type) -> list[type]:
    """Of ``kind``, direct or not, as far as they are loaded. By their identity: some have an ``==`` of their own, which
    may warn or raise."""
    found: dict[int, type] = {}
    left = [kind]
    while left:
        below: list[type] = type.__subclasses__(left.pop())
        new = [each for each in below if id(each) not in found]
        found.update((id(each), each) for each in new)
        left += new
    return list(found.values())


def guard_asyncio() -> None:
    """Guard what asyncio has of this kind. In the whole process, once."""
    kinds: list[type] = [asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore]
    kinds += [asyncio.BoundedSemaphore, asyncio.Barrier, asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue]
    kinds += [asyncio.StreamReader, asyncio.StreamWriter, *subclasses(asyncio.WriteTransport)]
    for kind in kinds:
        for name in vars(kind).copy():
            if not name.startswith("_"):
                _guard(kind, name)


def guard_client(kind: type) -> None:
    """Guard the coroutines of a client's class, and of those of its bases that are of its package."""
    package = str(kind.__module__).partition(".")[0]
    for base in kind.__mro__:
        if str(base.__module__).partition(".")[0] == package:
            for name, value in vars(base).copy().items():
                if inspect.iscoroutinefunction(value):
                    _guard(base, name)


def _guard(kind: type, name: str) -> None:
    function = vars(kind)[name]
    if isinstance(function, FunctionType) and not hasattr(function, _MARK):
        guarded = _guarded_coroutine(function) if inspect.iscoroutinefunction(function) else _guarded(function)
        guarded.__dict__[_MARK] = True
        with suppress(TypeError, AttributeError):  # a class that can't be changed stays as it is
            setattr(kind, name, guarded)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **keywords: Any) -> Any:
        have_lock()
        return function(*args, **keywords)

    return guarded


def _guarded_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded(*args: Any, **keywords: Any) -> Any:
        have_lock()
        return await function(*args, **keywords)

    return guarded
