"""The error texts in the code, found by reading it: what a person can meet in a terminal, a log or a response."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = (
    "graft",
    "async_routes",
    "gateway.py",
    "gunicorn.conf.py",
    "legacy_flask/settings.py",
    "legacy_flask/database.py",
)
LOGGERS = {"log", "_log", "logger", "logging", "access_log"}
LEVELS = {"warning", "error", "exception", "critical"}
RAISED = re.compile(
    r"(Error|Mismatch|Full|Closed|Refused|Write|Parameter|Question|Failed|HTTPException|RouteHeld|UnknownRoute|NotSwitched|NoGateway|GatewayAnswered|GatewayUnreachable)$"
)
ANSWERED = {"ErrorAnswer", "error_response", "_unauthorized", "_error"}
WITH_A_MEND = re.compile(r"(SettingError|AppError|RoutesError|SwitchesError|^_error)$")
TELLING = re.compile(r"reason|fault|explain|problem")
OWN_PROBLEMS = {"AssertionError", "NotImplementedError", "AttributeError", "KeyError"}
GAP = "…"


@dataclass(frozen=True)
class Message:
    """``text`` has ``…`` where the code fills something in."""

    text: str
    place: str

    @property
    def key(self) -> str:
        """The longest part of it that is always the same."""
        return max((part.strip(" .,:;()'\"") for part in self.text.split(GAP)), key=len)


def messages() -> list[Message]:
    """Each once; those of fewer than three words that never change are none to look up."""
    found: dict[str, Message] = {}
    for path in _files():
        for message in _in(path):
            if len(message.key.split()) >= 3:
                found.setdefault(message.key, message)
    return list(found.values())


def _files() -> Iterator[Path]:
    for source in SOURCES:
        path = PROJECT / source
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _in(path: Path) -> Iterator[Message]:
    embedded = "embedded" in path.parts  # answers as Elasticsearch does, in Elasticsearch's words
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if embedded:
            return
        if isinstance(node, ast.Call) and _tells(node):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            # SettingError(setting, found, mend): what was found is what one looks up, the mend stands beside it.
            told = arguments[:2] if WITH_A_MEND.search(_name(node)) else arguments
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and TELLING.search(node.name):
            told = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
        else:
            continue
        for argument in told:
            if text := _text(argument):
                yield Message(_even(text), f"{path.relative_to(PROJECT)}:{node.lineno}")


def _tells(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute):
        logger = function.value.id if isinstance(function.value, ast.Name) else ""
        if (logger in LOGGERS and function.attr in LEVELS) or function.attr == "__init__":
            return True
    name = _name(call)
    return name not in OWN_PROBLEMS and (name in ANSWERED or bool(RAISED.search(name)))


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _even(text: str) -> str:
    return re.sub(r"%(\.\d+)?[a-z]", GAP, " ".join(text.split()))


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = _text(node.left), _text(node.right)
        return None if None in parts else "".join(part or GAP for part in parts)
    return None
