"""The routes and their figures as they are on disk: what needs no running gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from graft.legacy.loading import flask_apps, load
from graft.legacy.rules import legacy_rules
from graft.observe import statistics
from graft.observe.statistics import RouteStatistics
from graft.routing.native import discover
from graft.routing.table import RouteTable
from graft.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """``routes`` is empty where nothing was counted. ``folder`` is where it comes from, ``running`` is that server."""

    routes: dict[str, RouteStatistics] = field(default_factory=dict)
    folder: Path | None = None
    running: bool = False


def table_of(settings: Settings) -> RouteTable:
    """The route table that a gateway with these settings has. Raises LegacyAppError or NativeRoutesError."""
    app = next(flask_apps(quietly(lambda: load(settings.legacy))), None)
    rules = legacy_rules(app, settings.legacy_prefix) if app is not None else ()
    return RouteTable(quietly(lambda: discover(settings.native)), rules)


def quietly(call: Callable[[], T]) -> T:
    """``call()``; what foreign modules print while they are imported goes to stderr, where it spoils no JSON."""
    with redirect_stdout(sys.stderr):
        return call()


def figures(settings: Settings) -> Figures:
    """What the workers of the last server counted, from the files that they share."""
    folder = metrics_folder(settings.data)
    if folder is None:
        return Figures()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return Figures(statistics.read(registry), folder, _is_running(folder))


def metrics_folder(data: Path) -> Path | None:
    """PROMETHEUS_MULTIPROC_DIR, else the newest folder in ``data``/metrics; that of a running server before others."""
    if named := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return Path(named) if Path(named).is_dir() else None
    try:
        folders = [folder for folder in (data / "metrics").iterdir() if folder.is_dir()]
        return max(folders, key=lambda folder: (_is_running(folder), folder.stat().st_mtime), default=None)
    except OSError:
        return None


def _is_running(folder: Path) -> bool:
    """The folder of a server is called by the server's process id."""
    try:
        os.kill(int(folder.name), 0)
    except PermissionError:
        return True
    except (ValueError, OSError, OverflowError):
        return False
    return True
