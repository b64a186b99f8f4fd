"""The build of a route: the version of the code behind it, on both sides, for which evidence counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.flaskside.sources import module_of, modules_of, template_folders
from graft.routing.source_files import SourceFiles
from graft.routing.table import Row


class Builds:
    """Made once a process, while the app is loaded: a file that changes later belongs to the next process.

    ``version`` is GRAFT_VERSION: where it is set, it is the build of every route.
    """

    def __init__(self, version: str | None) -> None:
        self._version = version
        self._files = SourceFiles()

    def of(self, row: Row) -> str:
        """Twelve hex digits, of a switched route; the version where there is one."""
        if self._version:
            return self._version
        native, legacy = row.native, row.legacy
        if native is None or legacy is None:
            return ""
        endpoint = getattr(native.route, "endpoint", None)
        entries = {native.module, *(module_of(endpoint) if endpoint is not None else ()), *modules_of(legacy)}
        self._files.own((native.module, legacy.app.import_name))
        folders = {*template_folders(legacy.app), *_template_folders(endpoint)}
        return self._files.hash_of(entries, {legacy.app.import_name}, folders)


def _template_folders(endpoint: Any) -> Iterator[Path]:
    """Of the Jinja environments, and of Starlette's templates, that stand in the module of a native endpoint."""
    for value in list(getattr(endpoint, "__globals__", {}).values()):
        environment = _attribute(value, "env")
        loader = _attribute(value if environment is None else environment, "loader")
        folders = _attribute(loader, "searchpath")
        if isinstance(folders, list):
            yield from map(Path, folders)


def _attribute(value: Any, name: str) -> Any:
    """None where there is none, and where it can't be had now: ``flask.request`` and its like stand for nothing yet."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None
