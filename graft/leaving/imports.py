"""What an app's modules import of Graft, and the same modules with the stand-ins in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft.errors import GraftError

SUPPORT = "async_support"
"""The package of the stand-ins in the written app."""

STAND_INS = {
    "graft": SUPPORT,
    "graft.fastapi": f"{SUPPORT}.fastapi",
    "graft.search.indexing": f"{SUPPORT}.indexing",
    "graft.tasks": f"{SUPPORT}.tasks",
}
NAMES = {
    "graft": frozenset({"is_mirrored", "tasks"}),
    "graft.fastapi": frozenset({"CurrentUser", "Elasticsearch", "Legacy", "LegacySession", "Tasks", "LegacyOf"})
    | {"elasticsearch_of", "legacy_of", "session_of", "tasks_of", "user_of", "USER_KEYS"},
    "graft.search.indexing": frozenset({"Index"}),
    "graft.tasks": frozenset({"Runner", "TaskRecord", "TaskState", "start", "step"}),
}
"""What has a stand-in, by module."""


@dataclass(frozen=True)
class Import:
    """One import statement of Graft's. ``names`` are those taken from ``module``; none for ``import module``."""

    module: str
    names: tuple[str, ...]
    first: int
    last: int

    @property
    def missing(self) -> tuple[str, ...]:
        """What of it has no stand-in, as dotted names."""
        if self.module not in STAND_INS:
            return (self.module,)
        return tuple(f"{self.module}.{name}" for name in self.names if name not in NAMES[self.module])


def imports_of_graft(source: str, path: Path) -> Iterator[Import]:
    """Those at any depth of the module. Raises GraftError where it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise GraftError(f"{path} can't be read: {error}.") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_grafts(node.module or ""):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.module or "", names, node.lineno, node.end_lineno or node.lineno)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_grafts(alias.name):
                    yield Import(alias.name, (), node.lineno, node.end_lineno or node.lineno)


def rewritten(source: str, path: Path) -> str:
    """``source`` with the stand-ins in place of what it imports of Graft; all else as it was, to the last space."""
    lines = source.splitlines(keepends=True)
    for found in sorted(imports_of_graft(source, path), key=lambda each: -each.first):
        for number in range(found.first - 1, found.last):
            lines[number] = _line(lines[number], found)
    return "".join(lines)


def _line(line: str, found: Import) -> str:
    stand_in = STAND_INS.get(found.module, found.module)
    if found.names:
        return line.replace(f"from {found.module} import", f"from {stand_in} import")
    if f"import {found.module} as" in line:
        return line.replace(f"import {found.module} as", f"import {stand_in} as")
    start = f"import {SUPPORT} as graft" if found.module == "graft" else f"import {stand_in}, {SUPPORT} as graft"
    return line.replace(f"import {found.module}", start, 1)


def _is_grafts(module: str) -> bool:
    return module == "graft" or module.startswith("graft.")
