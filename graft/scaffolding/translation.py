"""The view's source as a Starlette route, as far as there is one right translation. Needs libcst, an optional extra."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import FunctionType

from graft.scaffolding.models import EXTRA, NoScaffoldExtra
from graft.scaffolding.view import View


@dataclass(frozen=True)
class Translation:
    """``function`` is the native function; ``marks`` say what is left to do."""

    function: str
    imports: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not self.marks


def translate(view: View) -> Translation:
    """Raises NoScaffoldExtra."""
    try:
        from graft.scaffolding.codemod import ViewCodemod
    except ImportError:
        raise NoScaffoldExtra(f"--translate needs libcst, which is not installed. {EXTRA}") from None
    if (reason := _untranslatable(view)) is not None:
        return Translation("", (), (reason,))
    return ViewCodemod(view).translated()


def _untranslatable(view: View) -> str | None:
    """Why nothing of it can be translated."""
    function = view.function
    if view.source is None or not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        return "the view is no plain function: only those are translated"
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        return "the view is async, or a generator: only plain functions are translated"
    if names := sorted(function.__code__.co_freevars):
        return f"the view uses {', '.join(names)} of the function that it was made in, which can't be imported"
    return None
