"""What went wrong, in one line: the exception, and the place in the user's own code that it came through."""

from __future__ import annotations

import os
import site
import sysconfig
import traceback
from types import TracebackType
from typing import NamedTuple

_LIBRARIES = tuple(
    os.path.join(os.path.realpath(folder), "")
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    }
)
"""Folders whose code is nobody's own. Their real names: an environment may be a link."""


class Failure(NamedTuple):
    """``line`` is ``ValueError: no such article (shop/views.py:12 in detail)``; ``trace`` the whole traceback."""

    line: str
    trace: str


def failure_of(error: BaseException | None, deadline: float) -> Failure:
    """Of what a run raised; None where it returned without an answer. ``deadline`` is what it had, in seconds."""
    if error is None:
        return Failure("The route returned without an answer.", "The route returned without an answer.")
    said = " ".join("".join(traceback.format_exception_only(error)[-1:]).split())
    if isinstance(error, TimeoutError) and not error.args:
        said = f"TimeoutError: no answer within {deadline:g} s"
    place = _place(error.__traceback__)
    if place is None and (inner := error.__cause__ or error.__context__) is not None:
        place = _place(inner.__traceback__)
    return Failure(f"{said} ({place})" if place else said, "".join(traceback.format_exception(error)))


def _place(trace: TracebackType | None) -> str | None:
    """The innermost frame that is no library's: ``shop/views.py:12 in detail``; None where there is none."""
    for frame, line in reversed(list(traceback.walk_tb(trace))):
        code = frame.f_code
        path = os.path.realpath(code.co_filename)
        if not code.co_filename.startswith("<") and not path.startswith(_LIBRARIES):
            return f"{_short(path)}:{line} in {code.co_name}"
    return None


def _short(path: str) -> str:
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path
