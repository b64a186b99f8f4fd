"""What ``python gateway.py`` says before it serves: a panel on a terminal, plain lines in a log."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from starlette.routing import BaseRoute, Mount, Route

from graft import __version__
from graft.cli.output import SafeConsole
from graft.cli.servers import Plan, Server
from graft.gateways.addresses import local_address
from graft.settings import Settings

__all__ = ["facts", "show"]


def show(settings: Settings, plan: Plan, routes: Iterable[BaseRoute], file: IO[str], closed: str | None = None) -> None:
    """Write the banner of this start to ``file``."""
    lines = list(facts(settings, plan, list(routes), closed))
    if file.isatty():
        SafeConsole(file=file).print(_panel(lines))
    else:
        width = max(len(name) for name, _ in lines)
        print(f"Graft {__version__}", *(f"  {name:{width}}  {value}" for name, value in lines), sep="\n", file=file)
    file.flush()


def facts(
    settings: Settings, plan: Plan, routes: list[BaseRoute], closed: str | None = None
) -> Iterator[tuple[str, str]]:
    """Name and value of each line, in order. ``closed`` is why the express way is, if it is."""
    yield "server", _server(plan)
    for loss in plan.lost:
        yield "warning", loss
    yield "legacy", settings.legacy
    if plan.server is not Server.FLASK:
        yield "loop", "uvloop" if _has_uvloop() else "asyncio"
        yield "express way", "open" if closed is None else f"closed: {closed}"
        yield "native", f"{settings.native}, {_counted(sum(1 for _ in natives(routes)), 'route')}"
        yield "search", _engine(settings)
    yield from _addresses(settings, plan, routes)


def natives(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """The routes of the user's own modules: all but the control plane and the legacy app's mount."""
    for route in routes:
        if getattr(route, "path", None) != "/_graft" and not (isinstance(route, Mount) and route.path == ""):
            yield route


def _server(plan: Plan) -> str:
    if plan.reload:
        return f"{plan.title}, starts again when a file changes"
    return f"{plan.title}, {_counted(plan.workers, 'worker')}"


def _engine(settings: Settings) -> str:
    if settings.elasticsearch_url:
        return "Elasticsearch at " + ", ".join(map(_without_credentials, settings.elasticsearch_url))
    here = Path.cwd()
    data = settings.data.relative_to(here) if settings.data.is_relative_to(here) else settings.data
    return f"embedded engine, in {data}{os.sep}"


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _addresses(settings: Settings, plan: Plan, routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    if settings.port == 0:
        yield "home", "on a free port, named in the next lines"
        return
    home = local_address(settings.host, settings.port)
    yield "home", f"{home}/"
    if plan.server is Server.FLASK:
        return
    if any(isinstance(route, Route) and route.path == "/search" for route in routes):
        yield "search page", f"{home}/search"
    if any(getattr(route, "path", None) == "/_graft" for route in routes):
        yield "dashboard", f"{home}/_graft/"


def _panel(lines: list[tuple[str, str]]) -> Panel:
    table = Table.grid(padding=(0, 2))
    for name, value in lines:
        style = "yellow" if name == "warning" else "cyan" if value.startswith("http://") else ""
        table.add_row(Text(name, style="yellow" if name == "warning" else "dim"), Text(value, style=style))
    return Panel(table, title=f"Graft {__version__}", title_align="left", expand=False)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _has_uvloop() -> bool:
    try:
        return os.name == "posix" and find_spec("uvloop") is not None
    except (ImportError, ValueError):
        return False
