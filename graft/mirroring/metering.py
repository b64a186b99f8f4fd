"""Metering: what one mirrored request takes of this worker's time, on the loop and in threads.

In a thread its own CPU clock is read, so what others do meanwhile is not counted. On the loop, where a look at that
clock may cost as much as a step, each step counts as long as it holds the loop: nobody else can do anything meanwhile.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from time import perf_counter, thread_time
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Meter:
    """Seconds so far. One mirrored request has one, and is in one place at a time; where a thread of it is
    left behind after its deadline, two may add at once, and one addition may be lost."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    def awaited(self, coroutine: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """What is awaited in the coroutine's place, with its steps counted."""
        return _stepwise(coroutine, self)

    def called(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``fn(*args)``, counted. (any thread)"""
        began = thread_time()
        try:
            return fn(*args, **kwargs)
        finally:
            self.seconds += thread_time() - began


current: ContextVar[Meter | None] = ContextVar("graft_meter", default=None)
"""The one of the mirrored request that this code runs for."""


def metered(app: Any) -> Any:
    """The WSGI app ``app`` with its calls counted in the ``current`` meter: until it returns its iterable, which is
    where a Flask app has done its work. (worker threads)"""

    def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        meter = current.get()
        answer: Iterable[bytes] = (meter.called if meter is not None else _called)(app, environ, start_response)
        return answer

    return counted


def _called(app: Any, *args: Any) -> Any:
    return app(*args)


@types.coroutine
def _stepwise(coroutine: Coroutine[Any, Any, T], meter: Meter) -> Generator[Any, Any, T]:
    value: Any = None
    error: BaseException | None = None
    while True:
        began = perf_counter()
        try:
            waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            meter.seconds += perf_counter() - began
        value = error = None
        try:
            value = yield waits_for
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as raised:
            error = raised
