"""The files that ``graft init`` puts into a project. What is there already stays as it is, to the last byte."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

import graft
from graft.cli import own_wheel
from graft.cli.deployment import HOST, Deployment, name_of, static_parent
from graft.cli.template_files import template
from graft.errors import GraftError
from graft.files import create, replace


class Action(StrEnum):
    WRITE = "write"
    ADD = "add to"
    KEEP = "keep"


@dataclass(frozen=True)
class Step:
    """One file. ``content`` is written, or added at its end; ``why`` says why it is kept."""

    action: Action
    path: Path
    content: bytes = b""
    why: str = ""


@dataclass(frozen=True)
class ProjectFiles:
    """What to do in ``folder`` for the app ``target``; ``carry_out`` does it."""

    folder: Path
    target: str
    deploy: bool = True
    host: str = HOST

    @property
    def gateway(self) -> str:
        """The module of the gateway; another name where the project has a gateway.py of its own."""
        there = self.folder / "gateway.py"
        return "graft_gateway" if there.exists() and not _is_ours(there) else "gateway"

    def steps(self) -> list[Step]:
        """In the order in which they are to be taken."""
        requirements = list(self._requirements())
        wheels = self.folder / _VENDOR
        vendored = wheels.is_dir() or any(step.path.parent == wheels for step in requirements)
        return [
            self._file(f"{self.gateway}.py", template("gateway.py.txt")),
            *self._native_routes(),
            self._file(
                "gunicorn.conf.py", template("gunicorn.conf.py.txt"), "without Graft's there are no shared metrics"
            ),
            self._environment(),
            *requirements,
            self._ignored(),
            *self._deployment(vendored),
        ]

    def _file(self, name: str, text: str, why: str = "") -> Step:
        path = self.folder / name
        if path.exists() or path.is_symlink():
            return Step(Action.KEEP, path, why="" if _is_ours(path) else why)
        return Step(Action.WRITE, path, text.encode())

    def _native_routes(self) -> Iterator[Step]:
        package = self.folder / "async_routes"
        if package.exists():
            yield Step(Action.KEEP, package)
            return
        yield self._file("async_routes/__init__.py", template("__init__.py.txt"))
        yield self._file("async_routes/hello.py", template("hello.py.txt"))
        yield self._file("tests/test_graft_hello.py", template("test_graft_hello.py.txt"))

    def _environment(self) -> Step:
        path = self.folder / ".env"
        if not path.exists():
            return self._file(".env", f"{_HEADING}{_assignment(self.target)}\n")
        try:
            there = dotenv_values(path).get("GRAFT_LEGACY")
        except (OSError, ValueError) as error:
            raise GraftError(f"{path} can't be read: {error}. Save it as UTF-8.") from None
        if there is not None:
            return Step(Action.KEEP, path, why=f"it has GRAFT_LEGACY={there}")
        return _added(path, f"{_HEADING}{_assignment(self.target)}\n")

    def _requirements(self) -> Iterator[Step]:
        path = self.folder / "requirements.txt"
        line, wheel = requirement()
        text = f"# The async side, and what serves both.\n{line}\n"
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise GraftError(f"{path} can't be read: {error}. Save it as UTF-8.") from None
        if any(_NAMES_GRAFT.search(line.strip()) for line in lines):
            yield Step(Action.KEEP, path, why="it names graft")
            return
        if wheel is not None:
            vendored = self.folder / _VENDOR / own_wheel.name_of(wheel)
            if vendored.exists():
                yield Step(Action.KEEP, vendored)
            else:
                why = "this very Graft, for machines that have no folder of it"
                yield Step(Action.WRITE, vendored, own_wheel.build(wheel), why)
        yield _added(path, text) if path.exists() else self._file("requirements.txt", text)

    def _ignored(self) -> Step:
        path, text = self.folder / ".gitignore", template("gitignore.txt")
        if not path.exists():
            return self._file(".gitignore", text)
        try:
            there = set(path.read_text(encoding="utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise GraftError(f"{path} can't be read: {error}. Save it as UTF-8.") from None
        if there >= {line for line in text.splitlines() if not line.startswith("#")}:
            return Step(Action.KEEP, path)
        return _added(path, text)

    def _deployment(self, vendored: bool) -> Iterator[Step]:
        if self.deploy:
            name, package = name_of(self.folder, self.target), static_parent(self.folder, self.target)
            deployment = Deployment(name, self.gateway, self.target, package, vendored, self.host)
            yield from (self._file(name, text) for name, text in deployment.files())


def carry_out(steps: Iterable[Step]) -> None:
    """Raises GraftError when a file can't be written; what was written before stays."""
    for step in steps:
        try:
            _take(step)
        except FileExistsError:
            raise GraftError(f"{step.path} has just been made by somebody else; it was left alone.") from None
        except OSError as error:
            raise GraftError(f"{step.path} can't be written: {error.strerror}. Let this user write there.") from None


def requirement() -> tuple[str, Distribution | None]:
    """The line by which pip finds this very Graft anywhere, and the distribution of which that takes a wheel."""
    try:
        found = distribution(graft.DISTRIBUTION)
        origin: Any = json.loads(found.read_text("direct_url.json") or "null")
    except PackageNotFoundError:
        return f"{graft.DISTRIBUTION} @ {Path(graft.__file__).parents[1].as_uri()}", None
    if origin is None and found.read_text("RECORD"):  # else it is a source tree, which was not installed
        return f"{graft.DISTRIBUTION}=={found.version}", None
    origin = origin or {"url": "file:"}
    if version_control := origin.get("vcs_info"):
        place = f"{version_control['vcs']}+{origin['url']}@{version_control['commit_id']}"
        return f"{graft.DISTRIBUTION} @ {place}", None
    if not origin["url"].startswith("file:"):
        return f"{graft.DISTRIBUTION} @ {origin['url']}", None
    return f"./{_VENDOR}/{own_wheel.name_of(found)}", found


_VENDOR = "vendor"
_NAMES_GRAFT = re.compile(r"^graft(?:[-_]asgi)?(?![-\w])|\bgraft_asgi-\d", re.IGNORECASE)


_HEADING = "# The Flask app that the gateway serves: module:attribute, an app or a factory.\n"


def _assignment(target: str) -> str:
    """A line that dotenv reads back as it was."""
    if re.fullmatch(r"[\w.:]+", target):
        return f"GRAFT_LEGACY={target}"
    escaped = target.replace("\\", "\\\\").replace("'", "\\'")
    return f"GRAFT_LEGACY='{escaped}'"


def _added(path: Path, text: str) -> Step:
    return Step(Action.ADD, path, (_gap(path) + text).encode())


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
        step.path.parent.mkdir(parents=True, exist_ok=True)
        if not create(step.path, step.content):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(step.path))
    elif step.action is Action.ADD:
        replace(step.path, step.path.read_bytes() + step.content)
