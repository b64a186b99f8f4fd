"""The files that ``graft init`` puts into a project. What is there already stays as it is, to the last byte."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

import graft
from graft.errors import GraftError
from graft.files import create, replace

_TEMPLATES = files("graft.cli") / "templates"


class Action(StrEnum):
    WRITE = "write"
    ADD = "add to"
    KEEP = "keep"


@dataclass(frozen=True)
class Step:
    """One file. ``text`` is written, or added at its end; ``why`` says why it is kept."""

    action: Action
    path: Path
    text: str = ""
    why: str = ""


@dataclass(frozen=True)
class Scaffold:
    """What to do in ``folder`` for the app ``target``; nothing is done before ``carry_out``."""

    folder: Path
    target: str

    @property
    def gateway(self) -> str:
        """The module of the gateway; another name where the project has a gateway.py of its own."""
        there = self.folder / "gateway.py"
        return "graft_gateway" if there.exists() and not _is_ours(there) else "gateway"

    def steps(self) -> list[Step]:
        """In the order in which they are taken."""
        return [
            self._file(f"{self.gateway}.py", _template("gateway.py.txt")),
            *self._native_routes(),
            self._file(
                "gunicorn.conf.py", _template("gunicorn.conf.py.txt"), "without Graft's there are no shared metrics"
            ),
            self._environment(),
            self._requirements(),
        ]

    def carry_out(self) -> None:
        """Raises GraftError when a file can't be written; what was written before stays."""
        for step in self.steps():
            try:
                _take(step)
            except FileExistsError:
                raise GraftError(f"{step.path} has just been made by somebody else; it was left alone.") from None
            except OSError as error:
                raise GraftError(
                    f"{step.path} can't be written: {error.strerror}. Let this user write there."
                ) from None

    def _file(self, name: str, text: str, why: str = "") -> Step:
        path = self.folder / name
        if path.exists() or path.is_symlink():
            return Step(Action.KEEP, path, why="" if _is_ours(path) else why)
        return Step(Action.WRITE, path, text)

    def _native_routes(self) -> Iterator[Step]:
        package = self.folder / "async_routes"
        if package.exists():
            yield Step(Action.KEEP, package)
            return
        yield Step(Action.WRITE, package / "__init__.py", _template("__init__.py.txt"))
        yield Step(Action.WRITE, package / "hello.py", _template("hello.py.txt"))
        yield self._file("tests/test_graft_hello.py", _template("test_graft_hello.py.txt"))

    def _environment(self) -> Step:
        path = self.folder / ".env"
        if not path.exists():
            return Step(Action.WRITE, path, f"{_HEADING}{_assignment(self.target)}\n")
        try:
            there = dotenv_values(path).get("GRAFT_LEGACY")
        except (OSError, ValueError) as error:
            raise GraftError(f"{path} can't be read: {error}. Save it as UTF-8.") from None
        if there is not None:
            return Step(Action.KEEP, path, why=f"it has GRAFT_LEGACY={there}")
        return Step(Action.ADD, path, f"{_gap(path)}{_HEADING}{_assignment(self.target)}\n")

    def _requirements(self) -> Step:
        path = self.folder / "requirements.txt"
        text = f"# The async side, and what serves both.\n{requirement()}\n"
        if not path.exists():
            return Step(Action.WRITE, path, text)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise GraftError(f"{path} can't be read: {error}. Save it as UTF-8.") from None
        if any(re.match(r"graft\b(?!-)", line.strip(), re.IGNORECASE) for line in lines):
            return Step(Action.KEEP, path, why="it names graft")
        return Step(Action.ADD, path, _gap(path) + text)


def requirement() -> str:
    """The line by which pip finds this very Graft: the place that it was installed from, else its version."""
    try:
        found = distribution("graft")
        origin: Any = json.loads(found.read_text("direct_url.json") or "null")
    except PackageNotFoundError:
        return f"graft @ {Path(graft.__file__).parents[1].as_uri()}"
    if origin is None:
        return f"graft=={found.version}"
    version_control = origin.get("vcs_info", {})
    prefix = f"{version_control['vcs']}+" if version_control else ""
    commit = f"@{version_control['commit_id']}" if version_control else ""
    return f"graft @ {prefix}{origin['url']}{commit}"


_HEADING = "# The Flask app that the gateway serves: module:attribute, an app or a factory.\n"


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _assignment(target: str) -> str:
    """A line that dotenv reads back as it was."""
    if re.fullmatch(r"[\w.:]+", target):
        return f"GRAFT_LEGACY={target}"
    escaped = target.replace("\\", "\\\\").replace("'", "\\'")
    return f"GRAFT_LEGACY='{escaped}'"


def _gap(path: Path) -> str:
    """What keeps an addition apart from what a file ends with."""
    content = path.read_bytes()
    return "" if not content.strip() else "\n" if content.endswith(b"\n") else "\n\n"


def _is_ours(path: Path) -> bool:
    try:
        return re.search(r"^(from|import) graft\b", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _take(step: Step) -> None:
    if step.action is Action.WRITE:
        step.path.parent.mkdir(exist_ok=True)
        if not create(step.path, step.text.encode()):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(step.path))
    elif step.action is Action.ADD:
        replace(step.path, step.path.read_bytes() + step.text.encode())
