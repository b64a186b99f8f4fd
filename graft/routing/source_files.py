"""The files that a route's code is made of, by what they import, without importing anything.

The imports are looked for in the text, so those inside functions count too; one in a docstring makes the set larger,
not wrong. Followed are files of the app: what lies outside of the installed packages, or belongs to a package of the
app's own that is installed. Each file is read once.
"""

from __future__ import annotations

import hashlib
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<origin>[\w.]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n#;]+)"
    r"|import[ \t]+(?P<modules>[^\n#;]+))",
    re.MULTILINE,
)
_COMMENT = re.compile(r"#[^\n]*")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_GRAFT = "graft"


@dataclass(frozen=True)
class SourceFile:
    """One module of the app. ``module`` is its dotted name."""

    module: str
    path: Path

    @property
    def package(self) -> str:
        return self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]

    @cached_property
    def content(self) -> bytes:
        """Empty where it can't be read: an app without its source files counts as always the same."""
        try:
            return self.path.read_bytes()
        except OSError:
            return b""

    @cached_property
    def imports(self) -> frozenset[str]:
        """Dotted names that may be modules."""
        text = self.content.decode("utf-8", "replace").replace("\\\n", " ")
        return frozenset(name for match in _IMPORT.finditer(text) for name in self._names(match))

    def _names(self, match: re.Match[str]) -> Iterator[str]:
        if match["modules"] is not None:
            for part in match["modules"].split(","):
                if found := _NAME.match(part.strip()):
                    yield found[0]
            return
        origin = self._absolute(match["origin"])
        yield origin
        for part in _COMMENT.sub("", match["names"]).strip("()").split(","):
            if found := _NAME.match(part.strip()):
                yield f"{origin}.{found[0]}"

    def _absolute(self, origin: str) -> str:
        dots = len(origin) - len(origin.lstrip("."))
        if not dots:
            return origin
        parts = self.package.split(".")
        return ".".join([*parts[: len(parts) - dots + 1], origin[dots:]]).strip(".")


class SourceFiles:
    """Hashes of code. What was read stays, so a hash tells of the files as they were first looked at."""

    def __init__(self) -> None:
        self._known: dict[str, SourceFile | None] = {}
        self._folders: dict[Path, list[tuple[str, bytes]]] = {}
        self._own: set[str] = set()

    def own(self, modules: Iterable[str]) -> None:
        """The packages of these are the app's, also where they are installed."""
        packages = {name.partition(".")[0] for name in modules}
        if not packages <= self._own:
            self._own |= packages
            self._known.clear()

    def hash_of(self, entries: Iterable[str], alone: Iterable[str] = (), folders: Iterable[Path] = ()) -> str:
        """Of the modules ``entries`` with all that they import, the modules ``alone`` without that, every file in
        ``folders`` and in ``templates`` beside a module, and the versions of Python and of what is installed. The same
        on every machine."""
        files = self._reached(set(entries)) | {file for name in alone if (file := self._file(name)) is not None}
        digest = hashlib.sha256(installed().encode())
        for file in sorted(files, key=lambda file: file.module):
            digest.update(f"\0{file.module}\0".encode() + file.content)
        for folder in sorted({*folders, *(file.path.parent / "templates" for file in files)}):
            for name, content in self._files_in(folder):
                digest.update(f"\0{name}\0".encode() + content)
        return digest.hexdigest()[:12]

    def _reached(self, entries: Set[str]) -> set[SourceFile]:
        reached: set[SourceFile] = set()
        waiting = [file for name in entries if (file := self._file(name)) is not None]
        while waiting:
            file = waiting.pop()
            if file not in reached:
                reached.add(file)
                # A module runs after the packages that it is in, but these may import all there is.
                reached.update(self._packages(file))
                waiting.extend(found for name in file.imports if (found := self._file(name)) is not None)
        return reached

    def _packages(self, file: SourceFile) -> Iterator[SourceFile]:
        name = file.module.rpartition(".")[0]
        while name:
            if (found := self._file(name)) is not None:
                yield found
            name = name.rpartition(".")[0]

    def _file(self, name: str) -> SourceFile | None:
        """The file of a module of the app; None for any other, and for names that are no module."""
        if name not in self._known:
            path = self._path(name)
            self._known[name] = SourceFile(name, path) if path is not None and self._is_apps(name, path) else None
        return self._known[name]

    def _path(self, name: str) -> Path | None:
        module = sys.modules.get(name)
        if module is not None:
            return _source_of(module)
        parent, _, leaf = name.rpartition(".")
        if parent:
            above = self._file(parent)
            if above is None or above.path.name != "__init__.py":
                return None
            candidates = (above.path.parent / f"{leaf}.py", above.path.parent / leaf / "__init__.py")
            return next((path for path in candidates if path.is_file()), None)
        spec = PathFinder.find_spec(name)
        return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None

    def _is_apps(self, name: str, path: Path) -> bool:
        top = name.partition(".")[0]
        if top == _GRAFT:
            return False
        return top in self._own or not any(path.is_relative_to(folder) for folder in _library_folders())

    def _files_in(self, folder: Path) -> list[tuple[str, bytes]]:
        if folder not in self._folders:
            self._folders[folder] = list(_contents(folder))
        return self._folders[folder]


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        with suppress(OSError):  # a folder, or one that went away
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _source_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(os.path.abspath(file)) if isinstance(file, str) and file.endswith(".py") else None


@cache
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    names = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(Path(name) for name in {*names, site.getusersitepackages()})


@cache
def installed() -> str:
    """Python and the distributions with their versions, by the names of their folders: reading each would take long."""
    folders = {Path(sysconfig.get_paths()[name]) for name in ("purelib", "platlib")}
    names = {path.name for folder in folders if folder.is_dir() for path in folder.glob("*.dist-info")}
    return "\n".join([sys.version, *sorted(names)])
