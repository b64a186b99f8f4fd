"""Check of gateway.py: does anything stand in front of the app that closes the express way?

The file is read and not imported: that would build a second gateway, with a token and a data folder. What a program
makes of its app in other files is not seen; the banner of ``python gateway.py`` has asked the app itself.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from graft.cli.checks import Findings, ok, warning
from graft.observe import telemetry

__all__ = ["express_way"]

OURS = frozenset({"ForwardedHeaders", "FrontDoor"})
MEND = "Nothing breaks, it is only slower. What only native routes need can stand around these: Route(middleware=...)."


def express_way(file: Path, environ: Mapping[str, str] = os.environ) -> Findings:
    """``file`` is gateway.py."""
    if telemetry.is_on(environ):
        yield ok("express way", "closed: traces are written, and each request passes through them")
        return
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, SyntaxError, ValueError) as failed:
        yield warning("express way", f"{file} could not be read: {failed}", "Mend the file.")
        return
    in_front = list(dict.fromkeys(_in_front(tree)))
    if in_front:
        verb = "stands" if len(in_front) == 1 else "stand"
        yield warning("express way", f"closed: {', '.join(in_front)} {verb} in front of the app", MEND)
    else:
        yield ok("express way", "open: nothing stands in front of the app that Graft does not know")


def _in_front(tree: ast.Module) -> Iterator[str]:
    """``Middleware(Name, ...)``, ``app.add_middleware(Name, ...)`` and ``app = Name(app, ...)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in ("Middleware", "add_middleware"):
                name = ast.unparse(node.args[0]).rpartition(".")[2]
                if name not in OURS:
                    yield name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            targets = {target.id for target in node.targets if isinstance(target, ast.Name)}
            first = node.value.args[0] if node.value.args else None
            if isinstance(first, ast.Name) and first.id in targets:
                yield ast.unparse(node.value.func).rpartition(".")[2]
