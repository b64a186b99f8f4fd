"""What went wrong, in one line: the exception, and the place in the user's own code that it came through."""

from __future__ import annotations

import os
import site
import sysconfig
import traceback
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, TracebackType
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
    return Failure(f"{said} ({place})" if place else said, _trace(error))


def _trace(error: BaseException) -> str:
    """As ``traceback.format_exception``. A route that fails does so at one place again and again, and to write its
    frames down takes longer than many a route, so they are remembered."""
    has_other = error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__)
    if has_other or error.__traceback__ is None or isinstance(error, BaseExceptionGroup):
        return "".join(traceback.format_exception(error))
    frames = tuple(_frames(error.__traceback__))
    text = _texts.get(frames)
    if text is None:
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        said = traceback.format_exception_only(error)
        text = _texts[frames] = "".join(traceback.format_exception(error)[: -len(said)])
    return text + "".join(traceback.format_exception_only(error))


def _frames(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    """Each with the instruction that it stands at: a line may have several, which are underlined."""
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lasti
        trace = trace.tb_next


_MOST_TEXTS = 200
_texts: dict[tuple[tuple[CodeType, int], ...], str] = {}
"""Of the frames that a traceback came through. (any thread: each look-up and each entry is one step)"""


def _place(trace: TracebackType | None) -> str | None:
    """The innermost frame that is no library's: ``shop/views.py:12 in detail``; None where there is none."""
    for frame, line in reversed(list(traceback.walk_tb(trace))):
        code = frame.f_code
        if (path := _own(code.co_filename)) is not None:
            return f"{path}:{line} in {code.co_name}"
    return None


@lru_cache(1000)
def _own(filename: str) -> str | None:
    """The file of a frame, as people name it; None where it is a library's, or none."""
    path = os.path.realpath(filename)
    if filename.startswith("<") or path.startswith(_LIBRARIES):
        return None
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path
