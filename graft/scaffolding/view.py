"""One rule of the Flask app: its view, the view's source, and where that stands."""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.flaskside.rules import LegacyRule
from graft.types import RouteKey

_PARAMETER = re.compile(r"\{([a-zA-Z_]\w*)(?::([a-zA-Z_]\w*))?\}")
_KNOWN = frozenset({"int", "float", "path", "uuid"})
"""Converters that Starlette has too. What another one takes is for the Flask view to say."""


@dataclass(frozen=True)
class View:
    """``source`` is None where it is not Python of a file. ``module`` is the one that it was written in."""

    rule: LegacyRule
    function: Any
    source: str | None
    place: str
    module: str

    @classmethod
    def of(cls, rule: LegacyRule) -> View:
        view = rule.app.view_functions.get(rule.endpoint)
        shown: Any = getattr(view, "view_class", None) or inspect.unwrap(view) if view is not None else None
        source, place = None, rule.endpoint
        try:
            lines, number = inspect.getsourcelines(shown)
            source = textwrap.dedent("".join(lines)).rstrip()
            place = f"{_short(inspect.getsourcefile(shown) or '')}:{number}"
        except (OSError, TypeError):
            pass
        return cls(rule, shown, source, place, getattr(shown, "__module__", None) or rule.app.import_name)

    @property
    def key(self) -> RouteKey:
        return self.rule.key

    @property
    def path(self) -> str:
        """As a native route writes it."""
        return _PARAMETER.sub(
            lambda found: f"{{{found[1]}:{found[2]}}}" if found[2] in _KNOWN else f"{{{found[1]}}}", self.key.path
        )

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Name and converter of each part of the path."""
        return [(found[1], found[2] or "str") for found in _PARAMETER.finditer(self.key.path)]

    @property
    def name(self) -> str:
        """Of the native function, and of its module: ``blog_index``; of a method that writes ``notes_add_post``."""
        plain = re.sub(r"\W+", "_", self.rule.endpoint).strip("_") or "view"
        plain = f"view_{plain}" if plain[0].isdigit() else plain
        return plain if self.key.method == "GET" else f"{plain}_{self.key.method.lower()}"


def _short(path: str) -> str:
    here = os.path.join(os.getcwd(), "")
    if path.startswith(here):
        return path[len(here) :]
    parts = Path(path).parts
    return "/".join(parts[parts.index("site-packages") + 1 :]) if "site-packages" in parts else path
