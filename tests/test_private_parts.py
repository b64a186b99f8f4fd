"""What is private in a library is imported by one file of Graft, the one that checks whether it is there."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OURS = ("graft", "embedded_elasticsearch")
ADAPTERS = {
    "uvicorn": "graft/connection/uvicorn_private.py",
    "starlette": "graft/routing/starlette_private.py",
    "flask": "graft/flaskside/flask_private.py",
    "asgiref": "graft/flaskside/asgiref_private.py",
    "prometheus_client": "graft/figures/prometheus.py",
}
INSIDE = {"uvicorn.server", "uvicorn.protocols", "prometheus_client.values", "prometheus_client.mmap_dict", "asgiref"}
"""Modules whose names are public, and whose contents no documentation promises."""


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_private(name: str) -> bool:
    steps = name.split(".")
    if steps[0] in (*OURS, *sys.stdlib_module_names):
        return False
    inside = any(name == module or name.startswith(f"{module}.") for module in INSIDE)
    return inside or any(step.startswith("_") and not step.endswith("__") for step in steps)


def test_private_names_are_imported_in_the_adapter_of_their_library_alone() -> None:
    found = {
        (name, str(path.relative_to(PROJECT)))
        for package in OURS
        for path in sorted((PROJECT / package).rglob("*.py"))
        for name in imported_names(path)
        if is_private(name)
    }
    assert found, "the scan finds nothing any more"
    assert {(name, place) for name, place in found if ADAPTERS.get(name.partition(".")[0]) != place} == set()


def test_a_library_with_an_adapter_is_bounded_from_above() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for library in (*ADAPTERS, "werkzeug", "gunicorn", "psutil", "a2wsgi", "elastic_transport"):
        [bounds] = [
            line
            for line in project["dependencies"]
            if line.replace("-", "_").startswith((f"{library}>", f"{library}["))
        ]
        assert ",<" in bounds, bounds


def test_random_numbers_are_drawn_from_a_generator_of_our_own() -> None:
    """An app that seeds Python's gets its whole sequence."""
    drawn = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for package in OURS
        for path in (PROJECT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module == "random")
        or (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "random"
            and node.attr not in ("Random", "SystemRandom", "getstate", "setstate")
        )
    ]
    assert drawn == []
