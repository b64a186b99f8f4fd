"""What an app's modules import of Graft, and the same modules with the stand-ins in its place."""

from __future__ import annotations

import ast
import re
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
    "graft": frozenset({"fastapi", "is_mirrored", "tasks"}),
    "graft.fastapi": frozenset({"CurrentUser", "Elasticsearch", "Legacy", "LegacySession", "Tasks", "LegacyOf"})
    | {"elasticsearch_of", "legacy_of", "session_of", "tasks_of", "user_of", "USER_KEYS"},
    "graft.search.indexing": frozenset({"Index"}),
    "graft.tasks": frozenset({"Runner", "TaskRecord", "TaskState", "start", "step"}),
}
"""What has a stand-in, by module."""


@dataclass(frozen=True)
class Import:
    """One import statement that names Graft. ``names`` are those taken from ``module``; none for ``import module``."""

    module: str
    names: tuple[str, ...]
    statement: ast.Import | ast.ImportFrom

    @property
    def line(self) -> int:
        return self.statement.lineno

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
            yield Import(node.module or "", tuple(alias.name for alias in node.names), node)
        elif isinstance(node, ast.Import):
            yield from (Import(alias.name, (), node) for alias in node.names if _is_grafts(alias.name))


def rewritten(source: str, path: Path) -> str:
    """``source`` with the stand-ins in place of what it imports of Graft; all else as it was, to the last space."""
    statements = {id(found.statement): found.statement for found in imports_of_graft(source, path)}
    lines = source.encode().splitlines(keepends=True)  # ast counts columns in bytes
    for node in sorted(statements.values(), key=lambda each: (-each.lineno, -each.col_offset)):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        text = b"".join(lines[first : last + 1])
        text = text[len(before) : len(text) - len(after)]
        lines[first : last + 1] = [before + _statement(node, text.decode()).encode() + after]
    return b"".join(lines).decode()


def _statement(node: ast.Import | ast.ImportFrom, text: str) -> str:
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        return _FROM.sub(f"from {STAND_INS.get(module, module)} import", text, count=1)
    names: list[str] = []
    for alias in node.names:
        stand_in = STAND_INS.get(alias.name, alias.name)
        if not _is_grafts(alias.name) or alias.asname:
            names.append(f"{stand_in} as {alias.asname}" if alias.asname else alias.name)
        else:  # binds "graft", whatever is below it
            names += [stand_in] * (stand_in != SUPPORT) + [f"{SUPPORT} as graft"]
    return f"import {', '.join(dict.fromkeys(names))}"


def _is_grafts(module: str) -> bool:
    return module == "graft" or module.startswith("graft.")


_FROM = re.compile(r"from\s+graft[\w.]*\s+import")
