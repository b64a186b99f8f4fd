"""A method of somebody else's class that asks first. Everything else about the class stays: its identity, its other
attributes, what it is an instance of, how it is pickled. To other work it is one more frame in a traceback.
"""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

from graft.mirroring.fence import Kind, Tried, current, judged
from graft.mirroring.fences import callers

Judge = Callable[..., str | None]
"""Called as the method is: what that would change, in words; None if nothing."""

log = logging.getLogger("graft.mirror")


def wrap(owner: type, kind: Kind, judge: Judge, *names: str, covers: bool = False) -> None:
    """Have ``judge`` asked before each of these methods of ``owner`` in mirrored work; those that it does not define
    itself are left alone. With ``covers`` nothing that is done below is judged again."""
    for name in names:
        original = vars(owner).get(name)
        if isinstance(original, FunctionType):
            setattr(owner, name, _guarded(original, kind, judge, covers))
        elif callable(original):
            _set_builtin(owner, name, _guarded(original, kind, judge, covers))


def wrap_functions(module: Any, kind: Kind, judge: Judge, *names: str) -> None:
    """``wrap`` for functions of a module. Who has taken them from there before has the bare ones."""
    for name in names:
        if (original := getattr(module, name, None)) is not None:
            setattr(module, name, _guarded(original, kind, judge, covers=False))


def _guarded(original: Callable[..., Any], kind: Kind, judge: Judge, covers: bool) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def method(*args: Any, **keywords: Any) -> Any:
            if (run := current.get()) is None:
                return await original(*args, **keywords)
            _ask(run, kind, judge, args, keywords)
            if not covers:
                return await original(*args, **keywords)
            with judged():
                return await original(*args, **keywords)
    else:

        @wraps(original)
        def method(*args: Any, **keywords: Any) -> Any:
            if (run := current.get()) is None:
                return original(*args, **keywords)
            _ask(run, kind, judge, args, keywords)
            if not covers:
                return original(*args, **keywords)
            with judged():
                return original(*args, **keywords)

    return method


def _ask(run: Tried, kind: Kind, judge: Judge, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    if run.refuses(kind) and (what := judge(*args, **keywords)) is not None and not callers.is_excused(kind):
        raise run.refuse(what)


def _set_builtin(owner: type, name: str, method: Callable[..., Any]) -> None:
    """Set a method of a class that is written in C, as those of sqlite3 and psycopg2 are. ``setattr`` refuses these:
    their dict is written instead, and the interpreter told so. Read in CPython 3.11 to 3.14, with the GIL.
    """
    try:
        from ctypes import py_object, pythonapi

        [namespace] = (each for each in gc.get_referents(vars(owner)) if isinstance(each, dict))
        namespace[name] = method
        pythonapi.PyType_Modified(py_object(owner))
    except Exception as error:  # another interpreter
        log.warning("mirrored runs are not kept from %s.%s here: %s", owner.__qualname__, name, error)
