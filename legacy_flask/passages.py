"""Passages of documentation, read from Python sources.

Sources are parsed and never imported, so that reading them runs none of their code.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from legacy_flask import raw_html

TITLE_LENGTH = 110
SUMMARY_LENGTH = 220
LINE_LENGTH = 80

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Kind(StrEnum):
    MODULE = "module"
    CLASS = "class"
    FUNCTION = "function"
    METHOD = "method"
    PROPERTY = "property"


@dataclass(frozen=True, slots=True)
class Passage:
    """One documented thing. ``name`` is qualified, ``title`` is for lists, ``signature`` has its annotations."""

    module: str
    kind: Kind
    name: str
    title: str
    signature: str
    summary: str
    text: str
    line: int


def read(module: str, source: bytes) -> list[Passage]:
    """The documented public things of one module, in the order of their lines.

    Raises ValueError when ``source`` is no Python that this interpreter can parse.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a docstring with a stray backslash is its author's business
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{module} can't be parsed: {error}") from error
    found: dict[str, Passage] = {}
    for passage in _of_module(module, tree):
        found.setdefault(passage.name, passage)  # the first of several definitions under one name
    return list(found.values())


def _of_module(module: str, tree: ast.Module) -> Iterator[Passage]:
    if text := _docstring(tree):
        yield _passage(module, Kind.MODULE, module, "", "", text, 1)
    for node in _definitions(tree.body):
        if isinstance(node, ast.ClassDef):
            yield from _of_class(module, module, node)
        elif text := _docstring(node):
            yield _of_function(module, f"{module}.{node.name}", Kind.FUNCTION, node, text)


def _of_class(module: str, parent: str, node: ast.ClassDef) -> Iterator[Passage]:
    name = f"{parent}.{node.name}"
    if text := _docstring(node) or _described(node):
        yield _passage(module, Kind.CLASS, name, *_class_arguments(node), text, node.lineno)
    for member in _definitions(node.body):
        if isinstance(member, ast.ClassDef):
            yield from _of_class(module, name, member)
        elif text := _docstring(member):
            kind = Kind.PROPERTY if _is_property(member) else Kind.METHOD
            yield _of_function(module, f"{name}.{member.name}", kind, member, text)


def _of_function(module: str, name: str, kind: Kind, node: Function, text: str) -> Passage:
    if kind is Kind.PROPERTY:
        returns = f": {ast.unparse(node.returns)}" if node.returns else ""
        return _passage(module, kind, name, "", returns, text, node.lineno)
    is_bound = kind is Kind.METHOD and "staticmethod" not in _decorators(node)
    short, full = _arguments(node.args, is_bound)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return _passage(module, kind, name, short, full + returns, text, node.lineno)


def _passage(module: str, kind: Kind, name: str, short: str, full: str, text: str, line: int) -> Passage:
    title = _shortened(name + short, TITLE_LENGTH, ending="…)" if short else "…")
    return Passage(module, kind, name, title, name + full, _summary(text), text, line)


def _definitions(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Public classes and functions, those under ``if`` and ``try`` included."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            if not node.name.startswith("_"):
                yield node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if not node.name.startswith("_") and not _is_repeated(node):
                yield node
        elif isinstance(node, ast.If):
            yield from _definitions(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _definitions(node.body + [s for h in node.handlers for s in h.body] + node.orelse)


def _decorators(node: Function) -> set[str]:
    return {ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list}


def _is_property(node: Function) -> bool:
    return any(name.rpartition(".")[2] in ("property", "cached_property") for name in _decorators(node))


def _is_repeated(node: Function) -> bool:
    """Overloads, setters and deleters say again what the real definition says."""
    return any(name.rpartition(".")[2] in ("overload", "setter", "deleter") for name in _decorators(node))


def _docstring(node: ast.Module | ast.ClassDef | Function) -> str:
    return _cleaned(ast.get_docstring(node, clean=False) or "")


def _described(node: ast.ClassDef) -> str:
    """Some classes are described by a ``desc`` of their own, as the settings of Gunicorn are."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            is_description = any(isinstance(t, ast.Name) and t.id == "desc" for t in statement.targets)
            if is_description and isinstance(statement.value.value, str):
                return _cleaned(statement.value.value)
    return ""


def _cleaned(text: str) -> str:
    # NUL and lone surrogates can be written in a docstring, but not stored as text.
    text = inspect.cleandoc(text).replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    text = raw_html.replaced(text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def _class_arguments(node: ast.ClassDef) -> tuple[str, str]:
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _arguments(member.args, is_bound=True)
    return "", ""


def _arguments(arguments: ast.arguments, is_bound: bool) -> tuple[str, str]:
    """``(a, *, b=1)`` and ``(a: int, *, b: int = 1)``, both without self; the second one in lines where it is long."""
    short = ", ".join(_parameters(arguments, is_bound, annotated=False))
    parameters = _parameters(arguments, is_bound, annotated=True)
    full = ", ".join(parameters)
    if len(full) > LINE_LENGTH:
        full = "".join(f"\n    {parameter}," for parameter in parameters) + "\n"
    return f"({short})", f"({full})"


def _parameters(arguments: ast.arguments, is_bound: bool, *, annotated: bool) -> list[str]:
    def written(argument: ast.arg, default: ast.expr | None, stars: str = "") -> str:
        annotation = f": {ast.unparse(argument.annotation)}" if annotated and argument.annotation else ""
        equals = " = " if annotation else "="
        return f"{stars}{argument.arg}{annotation}" + (f"{equals}{ast.unparse(default)}" if default else "")

    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    found = [written(argument, default) for argument, default in zip(positional, defaults, strict=True)]
    if arguments.posonlyargs:
        found.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        found.append(written(arguments.vararg, None, "*"))
    elif arguments.kwonlyargs:
        found.append("*")
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found += [written(argument, default) for argument, default in pairs]
    if arguments.kwarg:
        found.append(written(arguments.kwarg, None, "**"))
    if is_bound and positional:
        del found[: 2 if found[1:2] == ["/"] else 1]
    return found


def _summary(text: str) -> str:
    """The first paragraph, as one line of plain text."""
    paragraph = re.split(r"\n\s*\n", text, maxsplit=1)[0]
    plain = _MARKUP.sub(lambda found: found["role"] or found["code"] or "", " ".join(paragraph.split()))
    return _shortened(plain.removesuffix("::"), SUMMARY_LENGTH)


def _shortened(text: str, length: int, ending: str = "…") -> str:
    return text if len(text) <= length else text[: length - len(ending)].rstrip(" ,.") + ending


_MARKUP = re.compile(r":[a-z:]+:`[~!]?(?P<role>[^`<]+)(?:<[^`>]*>)?`|`{1,2}(?P<code>[^`]+)`{1,2}_?")
