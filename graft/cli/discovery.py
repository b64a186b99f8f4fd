"""Where is the Flask app of a project? Found by reading its files: nothing is imported, so nothing starts."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

FLASK = frozenset({"Flask", "APIFlask"})
FACTORIES = ("create_app", "make_app", "app_factory", "get_app", "build_app")
OBJECTS = ("app", "application")
FIRST_FILES = ("wsgi.py", "app.py", "application.py", "main.py", "run.py", "server.py", "autoapp.py")

_PASSED_OVER = frozenset(
    {"venv", "env", "node_modules", "site-packages", "dist", "build", "docs", "doc", "tests", "test", "testing"}
    | {"examples", "migrations", "__pycache__"}
)
_MOST_FILES = 3000
_LARGEST = 1024 * 1024
_DEEPEST = 4


@dataclass(frozen=True)
class Found:
    """A Flask app, as GRAFT_LEGACY names it, and where that was read. ``needs`` are arguments without a default."""

    target: str
    place: str
    score: int
    needs: tuple[str, ...] = ()


def find_apps(folder: Path) -> list[Found]:
    """What may be the project's Flask app, the likeliest first: what FLASK_APP says, else what the files say."""
    roots = [folder / "src", folder] if (folder / "src").is_dir() else [folder]
    found = [one for root in roots for one in _in_files(root, folder)]
    found.sort(key=lambda one: (-one.score, one.target.count("."), one.target))
    target = flask_app(folder)
    if target is None:
        return found
    named = _named(target, found)
    return [named, *(one for one in found if one.target != named.target)]


def flask_app(folder: Path) -> str | None:
    """FLASK_APP of the project's ``.flaskenv`` or ``.env``, else of the environment where it names a file here."""
    for name in (".flaskenv", ".env"):
        try:
            value = dotenv_values(folder / name).get("FLASK_APP")
        except (OSError, ValueError):
            continue
        if value:
            return _dotted(value)
    value = os.environ.get("FLASK_APP")
    module = _dotted(value).partition(":")[0].replace(".", "/") if value else ""
    there = any((folder / name).exists() for name in (f"{module}.py", module)) if module else False
    return _dotted(value) if value and there else None


def _dotted(value: str) -> str:
    """``shop/wsgi.py:app`` -> ``shop.wsgi:app``."""
    module, colon, attribute = value.strip().partition(":")
    module = module.removesuffix(".py").removeprefix("./").strip("/").replace("/", ".")
    return f"{module}{colon}{attribute}"


def _named(target: str, found: Iterable[Found]) -> Found:
    """What FLASK_APP names; where that is a module alone, what the module has."""
    if ":" in target:
        return Found(target, "FLASK_APP", 100)
    inside = [one for one in found if one.target.partition(":")[0] == target]
    whole = inside[0].target if inside else f"{target}:app"
    return Found(whole, "FLASK_APP", 100, inside[0].needs if inside else ())


def _in_files(root: Path, folder: Path) -> Iterator[Found]:
    for path in _files(root):
        module = _module(path.relative_to(root))
        tree = _parsed(path)
        if tree is None or not module:
            continue
        place = path.relative_to(folder).as_posix()
        for name, line, score, needs in _Reader(tree, path.name).found():
            yield Found(f"{module}:{name}", f"{place}:{line}", score - 2 * module.count("."), needs)


def _files(root: Path) -> Iterator[Path]:
    number = 0
    for folder, folders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(
            name
            for name in folders
            if depth < _DEEPEST
            and name.isidentifier()
            and name not in _PASSED_OVER
            and not (depth == 0 and name == "src")
            and not (Path(folder) / name / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            if name.endswith(".py") and name.removesuffix(".py").isidentifier() and not _is_test(name):
                number += 1
                if number > _MOST_FILES:
                    return
                yield Path(folder) / name


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name in ("conftest.py", "setup.py", "gateway.py")


def _module(path: Path) -> str:
    """``shop/web.py`` -> ``shop.web``; empty for an ``__init__.py`` at the root, which has no name from here."""
    parts = [*path.parts[:-1], path.stem]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _parsed(path: Path) -> ast.Module | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        text = path.read_bytes()
        return ast.parse(text) if re.search(rb"[Ff]lask|_app\b", text) else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Reader:
    """Looks through one module."""

    def __init__(self, tree: ast.Module, file: str) -> None:
        self._body = list(_top_level(tree.body))
        self._file = file
        self._kinds = set(FLASK) | {
            one.name for one in self._body if isinstance(one, ast.ClassDef) and _has(one.bases, FLASK)
        }

    def found(self) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
        """Name, line, score, and the arguments that are missing."""
        for statement in self._body:
            if isinstance(statement, ast.FunctionDef) and self._makes_an_app(statement):
                needs = tuple(_required(statement.args))
                usual = statement.name in FACTORIES[:2]
                yield statement.name, statement.lineno, (20 if needs else 70 if usual else 50), needs
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and self._is_app(statement.value):
                for name in _names(statement):
                    yield name, statement.lineno, self._score(name), ()

    def _score(self, name: str) -> int:
        score = 88 - FIRST_FILES.index(self._file) if self._file in FIRST_FILES else 75
        return score if name in OBJECTS else score - 10

    def _makes_an_app(self, function: ast.FunctionDef) -> bool:
        if function.name.startswith("_"):
            return False
        calls = any(isinstance(node, ast.Call) and _called(node) in self._kinds for node in ast.walk(function))
        returns = any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))
        return returns and (calls or function.name in FACTORIES)

    def _is_app(self, value: ast.expr | None) -> bool:
        return isinstance(value, ast.Call) and (_called(value) in self._kinds or _called(value) in FACTORIES)


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported; not those for ``python module.py``."""
    for statement in body:
        if isinstance(statement, ast.If):
            if "__main__" not in ast.unparse(statement.test):
                yield from _top_level([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from _top_level([*statement.body, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, ast.With):
            yield from _top_level(statement.body)
        else:
            yield statement


def _called(call: ast.Call) -> str:
    """``flask.Flask(...)`` -> ``Flask``."""
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _has(bases: Iterable[ast.expr], names: frozenset[str]) -> bool:
    return any(ast.unparse(base).rpartition(".")[2] in names for base in bases)


def _names(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _required(arguments: ast.arguments) -> list[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = positional[: len(positional) - len(arguments.defaults)]
    keywords = [
        one for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    ]
    return [one.arg for one in (*without, *keywords)]
