"""What ``graft leave`` knows of a project: both sides as a gateway would load them, and the files they are made of."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Flask
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from graft.control.offline import quietly
from graft.errors import GraftError
from graft.flaskside.async_clients import used_clients
from graft.flaskside.error_pages import handled_errors
from graft.flaskside.hooks import has_hooks
from graft.flaskside.loading import load, placed_apps
from graft.flaskside.rules import legacy_rules
from graft.flaskside.sessions import is_signed_cookie
from graft.frameworks import HostedApp
from graft.leaving.imports import NAMES, imports_of_graft
from graft.operations import open_state
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.routing.native import NativeRoute
from graft.routing.openapi_pages import route_table
from graft.routing.table import RouteTable, Row
from graft.settings import LegacyLoop, Settings
from graft.types import RouteKey


@dataclass(frozen=True)
class Project:
    """``app`` is the Flask app; ``others`` are those that a dispatcher has beside it."""

    settings: Settings
    folder: Path
    app: Flask
    others: tuple[Flask, ...]
    table: RouteTable
    switches: Switches

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> Project:
        """Raises LegacyAppError, NativeRoutesError, and GraftError where the legacy app is none of Flask's."""
        apps = placed_apps(quietly(lambda: load(settings.legacy)), settings.legacy_prefix)
        if not apps:
            raise GraftError("GRAFT_LEGACY leads to no Flask app: what native routes have of it can't be written down.")
        rules = [rule for path, app in apps for rule in legacy_rules(app, path)]
        table = quietly(lambda: route_table(settings, rules))
        others = tuple(app for _, app in apps[1:])
        return cls(settings, folder.resolve(), apps[0][1], others, table, open_state(settings).read())

    def switch(self, key: RouteKey) -> Switch:
        return self.switches.for_route(key)

    @property
    def natives(self) -> tuple[NativeRoute, ...]:
        return self.table.natives

    @cached_property
    def hosted(self) -> tuple[HostedApp, ...]:
        """The apps of frameworks, in the order of their modules, each once."""
        apps = (getattr(native.route, "app", None) for native in self.natives)
        return tuple({id(app): app for app in apps if isinstance(app, HostedApp)}.values())

    def told_by_flask(self, hosted: HostedApp) -> list[str]:
        """The operations of ``hosted`` whose errors the Flask app tells, by their switches."""
        rows = (row for row in self.table if row.native and getattr(row.native.route, "app", None) is hosted)
        return [str(row.key) for row in rows if self.switch(row.key).errors == "legacy"]

    @cached_property
    def mounts(self) -> tuple[NativeRoute, ...]:
        """Mounts of apps that may have a lifespan."""
        kinds = (StaticFiles, HostedApp)
        return tuple(
            native
            for native in self.natives
            if isinstance(native.route, Mount) and not isinstance(native.route.app, kinds)
        )

    @cached_property
    def static(self) -> tuple[Row, ...]:
        """Rules of Flask's own for folders of static files, without a native route: they are written as such."""
        rows = (row for row in self.table if row.native is None and row.legacy is not None)
        return tuple(row for row in rows if row.legacy is not None and _is_static(row.legacy.endpoint))

    def static_folder(self, row: Row) -> Path:
        assert row.legacy is not None
        blueprint = row.legacy.endpoint.rpartition(".")[0]
        owner: Any = row.legacy.app.blueprints.get(blueprint, row.legacy.app)
        return Path(owner.static_folder or "")

    @cached_property
    def has_hooks(self) -> bool:
        return has_hooks(self.app, *(rule.rule for row in self.table for rule in row.rules))

    @cached_property
    def needs_flask(self) -> bool:
        """Whether something of the Flask app goes on to be used, as a library."""
        if self.stores_sessions or any(self.told_by_flask(hosted) for hosted in self.hosted):
            return True
        return self.has_hooks or bool(handled_errors(self.app)) or self.uses("legacy", "Legacy") or self._imports_flask

    @cached_property
    def stores_sessions(self) -> bool:
        """Whether sessions are kept elsewhere than in Flask's signed cookie."""
        return not is_signed_cookie(self.app.session_interface)

    @cached_property
    def one_loop(self) -> bool:
        """Whether the app's async views share a loop: they may hold async clients, or the settings say so."""
        mode = self.settings.legacy_loop
        return mode in (LegacyLoop.OWN, LegacyLoop.SERVER) or (mode is LegacyLoop.AUTO and any(used_clients(self.app)))

    @property
    def _imports_flask(self) -> bool:
        return any(_FLASK.search(text) for path, text in self.sources if self._is_native(path))

    def uses(self, state: str, dependency: str) -> bool:
        """Whether a module says ``request.state.NAME``, or imports the dependency of graft.fastapi."""
        pattern = re.compile(rf"\bstate\.{state}\b")
        return any(pattern.search(text) or dependency in self._dependencies for _, text in self.sources)

    @cached_property
    def _dependencies(self) -> frozenset[str]:
        found = [each for path, text in self.sources for each in imports_of_graft(text, path)]
        named = {name for each in found if each.module == "graft.fastapi" for name in each.names or NAMES[each.module]}
        whole = any("fastapi" in each.names for each in found if each.module == "graft")
        return NAMES["graft.fastapi"] if whole else frozenset(named)

    @cached_property
    def packages(self) -> tuple[Path, ...]:
        """The modules and packages in the project's folder that the app and its native routes are made of."""
        found: set[Path] = set()
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            top = name.partition(".")[0]
            if file is None or top in _NOT_THE_APPS or not Path(file).resolve().is_relative_to(self.folder):
                continue
            parts = Path(file).resolve().relative_to(self.folder).parts
            if parts[0].startswith(".") or "site-packages" in parts or parts[0] in ("venv", "env"):
                continue
            found.add(self.folder / parts[0])
        return tuple(sorted(path for path in found if path.stem not in _NOT_THE_APPS))

    @property
    def import_folders(self) -> tuple[str, ...]:
        """Folders in the project that modules are imported from, beside itself, such as ``src``."""
        inside = (Path(entry).resolve() for entry in sys.path if entry and Path(entry).is_dir())
        below = {path.relative_to(self.folder) for path in inside if path.is_relative_to(self.folder)}
        parts = {path.as_posix() for path in below if path.parts and path.parts[0] in {p.name for p in self.packages}}
        return tuple(sorted(parts))

    @cached_property
    def sources(self) -> tuple[tuple[Path, str], ...]:
        """Each Python file of ``packages``, with its text."""
        return tuple((path, _text(path)) for path in self.files() if path.suffix == ".py")

    def files(self) -> Iterator[Path]:
        for package in self.packages:
            if package.is_file():
                yield package
                continue
            for path in sorted(package.rglob("*")):
                if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
                    yield path

    def _is_native(self, path: Path) -> bool:
        return path.relative_to(self.folder).parts[0].removesuffix(".py") == self.settings.native.partition(".")[0]


def _is_static(endpoint: str) -> bool:
    return endpoint == "static" or endpoint.endswith(".static")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(f"{path} can't be read: {error}.") from None


_FLASK = re.compile(r"^\s*(?:from|import)\s+flask\b", re.MULTILINE)
_NOT_THE_APPS = frozenset({"graft", "embedded_elasticsearch", "__main__", "gateway", "conftest", "tests"})
