"""The check of what the app itself asks for: Graft is installed beside it, and pip may have moved a version."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

import graft
from graft.cli.checks import Findings, ok, warning
from graft.settings import Settings

FILES = ("requirements.txt", "requirements/base.txt", "requirements/prod.txt", "requirements/production.txt")


def app_requirements(settings: Settings) -> Findings:
    """The app's requirements, by its files in this folder and by its distribution, against what is installed."""
    asked = list(_asked(settings))
    faults = list(dict.fromkeys(fault for where, each in asked if (fault := _fault(where, each)) is not None))
    for message, mend in faults:
        yield warning("app requirements", message, mend)
    if asked and not faults:
        yield ok(
            "app requirements", f"all {len(asked)} installed as {', '.join(dict.fromkeys(w for w, _ in asked))} asks"
        )


def _asked(settings: Settings) -> Iterator[tuple[str, Requirement]]:
    folder = Path.cwd()
    if not Path(graft.__file__).is_relative_to(folder):  # there, the files are Graft's own
        for name in FILES:
            yield from _parsed(name, _lines(folder / name))
        yield from _parsed("pyproject.toml", _of_project(folder / "pyproject.toml"))
    package = settings.legacy.partition(":")[0].partition(".")[0]
    for distribution in packages_distributions().get(package, []):
        if distribution != "graft":
            yield from _parsed(distribution, requires(distribution) or [])


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [line.partition(" #")[0].partition(" --hash")[0].rstrip("\\ ") for line in text.splitlines()]


def _of_project(file: Path) -> list[str]:
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return []
    found = project.get("dependencies", [])
    return [each for each in found if isinstance(each, str)]


def _parsed(where: str, lines: list[str]) -> Iterator[tuple[str, Requirement]]:
    """Options, addresses and paths of pip are no requirements that could be compared."""
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield where, requirement


def _fault(where: str, asked: Requirement) -> tuple[str, str] | None:
    name = f"{asked.name}{asked.specifier}"
    try:
        found = version(asked.name)
    except PackageNotFoundError:
        return f"{where} asks for {name}, which is not installed", f"pip install '{name}'"
    if asked.specifier.contains(found, prereleases=True):
        return None
    mend = f"pip install '{name}', and look at the line of packages: Graft works with a range of each."
    return f"{where} asks for {name}, installed is {found}", mend
