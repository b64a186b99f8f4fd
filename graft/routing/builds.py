"""The build of a route: the version of the code behind it, on both sides, for which evidence counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.flaskside.sources import module_of, modules_of, template_folders
from graft.frameworks import django_sources
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
        native = row.native
        if native is None or not row.rules:
            return ""
        endpoint = getattr(native.route, "endpoint", None)
        of_rules = {module for rule in row.rules for module in modules_of(rule)}
        mounted = getattr(native.route, "app", None)
        of_endpoint = module_of(endpoint) if endpoint is not None else django_sources.modules_of(mounted)
        entries = {native.module, *of_endpoint, *of_rules}
        apps = {id(rule.app): rule.app for rule in row.rules}.values()
        names = {app.import_name for app in apps}
        self._files.own((native.module, *names))
        folders = {*django_sources.template_folders(mounted)}
        folders |= {folder for app in apps for folder in template_folders(app)}
        return self._files.hash_of(entries, names, folders | {*_template_folders(native.module)})


def _template_folders(module: str) -> Iterator[Path]:
    """Of the Jinja environments, and of Starlette's templates, that stand in a module of native routes."""
    for value in list(vars(sys.modules[module]).values()) if module in sys.modules else ():
        yield from _searched(value)


def _searched(value: Any) -> Iterator[Path]:
    """Where the loader of ``value`` looks, if it has one. Proxies such as ``flask.request`` stand for nothing yet."""
    try:
        loader = getattr(getattr(value, "env", value), "loader", None)
        folders = [Path(folder) for folder in getattr(loader, "searchpath", ())]
    except Exception:  # foreign objects, which may raise anything when they are asked
        return
    yield from folders
