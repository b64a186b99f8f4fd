"""The routes and their figures as they are on disk: what needs no running gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from graft.figures import folders, reader, route_metrics, shared
from graft.figures.route_figures import RouteFigures
from graft.figures.route_metrics import RouteMetrics
from graft.flaskside.loading import load, placed_apps
from graft.flaskside.rules import legacy_rules
from graft.routing.openapi_pages import route_table
from graft.routing.table import RouteTable
from graft.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """``routes`` is empty where nothing was counted. ``folder`` is where it comes from, ``running`` is that server."""

    routes: Mapping[str, RouteFigures] = field(default_factory=dict)
    folder: Path | None = None
    running: bool = False


def table_of(settings: Settings) -> RouteTable:
    """The route table that a gateway with these settings has. Raises LegacyAppError or NativeRoutesError."""
    apps = placed_apps(quietly(lambda: load(settings.legacy)), settings.legacy_prefix)
    rules = [rule for path, app in apps for rule in legacy_rules(app, path)]
    return quietly(lambda: route_table(settings, rules))


def quietly(call: Callable[[], T]) -> T:
    """``call()``; what foreign modules print while they are imported goes to stderr, where it spoils no JSON."""
    with redirect_stdout(sys.stderr):
        return call()


def metrics(settings: Settings) -> RouteMetrics:
    """The metrics of routes, of all workers of the last server."""
    folder = folders.newest(settings.data)
    return route_metrics.total(shared.read_metrics(folder) if folder is not None else ())


def figures(settings: Settings) -> Figures:
    """What the workers of the last server counted, from the files that they share."""
    folder = folders.newest(settings.data)
    if folder is None:
        return Figures()
    return Figures(reader.of_folder(folder), folder, folders.is_running(folder))
