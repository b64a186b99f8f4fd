"""``graft index``: build the indices that native modules declare."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from elasticsearch import ApiError, TransportError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from graft.cli.output import SafeConsole, echo
from graft.cli.target import target
from graft.errors import GraftError, SearchError, SettingError
from graft.search import indexing
from graft.search.client import open_client, reason
from graft.settings import Settings


@click.command("index", help="Build the search indices that native modules declare.")
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Build again even when nothing changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(name: str | None, force: bool, as_json: bool) -> None:
    # A script that starts from a folder finds its modules as `python -m` does.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        settings = target(changes=True).settings
        indexes = _selected(indexing.discover(settings.native), name)
        reports = asyncio.run(_build_all(settings, indexes, force, quiet=as_json))
    except GraftError as error:
        echo(f"graft index: {error}", err=True)
        raise SystemExit(2) from None
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=2))
        return
    for report in reports:
        echo(_line(report))
    if not reports:
        echo(f"No module of {settings.native} declares an index.")


def _selected(found: list[indexing.Index], name: str | None) -> list[indexing.Index]:
    if name is None:
        return found
    chosen = [index for index in found if index.name == name]
    if not chosen:
        known = ", ".join(index.name for index in found) or "none"
        raise SettingError("NAME", f"no index is named {name!r}", f"There is: {known}.")
    return chosen


async def _build_all(
    settings: Settings, indexes: list[indexing.Index], force: bool, quiet: bool
) -> list[indexing.BuildReport]:
    async with open_client(settings) as client:
        reports = []
        for index in indexes:
            try:
                with _progress(index.name, quiet) as progress:
                    reports.append(await indexing.build(client, index, progress, force))
            except (ApiError, TransportError) as error:
                raise SearchError(reason(error, client)) from error
        return reports


@contextmanager
def _progress(name: str, quiet: bool) -> Iterator[indexing.Progress | None]:
    """A bar on a terminal; elsewhere the result line is enough."""
    console = SafeConsole(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"Indexing {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _line(report: indexing.BuildReport) -> str:
    if not report.changed:
        return f"{report.name}: up to date, {report.documents:,} documents"
    return f"{report.name}: {report.documents:,} documents indexed in {report.seconds:.1f} s"
