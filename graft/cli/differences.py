"""``graft differences``: what the two sides do not agree on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click
from rich.console import Group as Lines
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from graft.cli.arguments import ROUTE, as_json
from graft.cli.output import echo, table_console
from graft.cli.target import target
from graft.control.offline import figures, table_of
from graft.errors import DifferencesError
from graft.mirroring.differences import Group, Report, difference_store, read_report
from graft.operations.routes import find_row
from graft.search.client import open_client
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]

_SHOWN_BODY = 600
MOST_NOISE = 3
"""Routes whose noise is listed below the table of all."""


@click.command("differences")
@click.argument("route", type=ROUTE, required=False)
@click.option(
    "--last", type=click.IntRange(1, 100), default=1, show_default=True, help="Examples of each, newest first."
)
@click.option("--clear", is_flag=True, help="Delete what is kept of ROUTE, or of all routes, and what was learned.")
@click.option("--yes", is_flag=True, help="With --clear: don't ask.")
@as_json
def command(route: RouteKey | None, last: int, clear: bool, yes: bool, as_json: bool) -> None:
    """What native and legacy do not agree on, grouped by what differs, the most frequent first.

    Without ROUTE: a table of all routes. With it: examples with both answers. The newest 100 of each route are kept
    without their secrets, for GRAFT_DIFFERENCES_DAYS, in GRAFT_DATA, or in Elasticsearch where ELASTICSEARCH_URL is
    set. What is noise (times, tokens, random order) was learned and is listed below; to ignore more, name it in
    switches.toml: ignore = ["body.took", "header.etag", "body.items[*].score"].

    --clear deletes them, of ROUTE or of all routes, after a question.

    \b
      graft differences
      graft differences "GET /api/articles/{id:int}" --last 3
      graft differences "GET /api/articles/{id:int}" --clear
    """
    meant = target(changes=clear)
    if clear:
        _clear(meant.settings, route, sure=yes, as_json=as_json)
        return
    report = asyncio.run(_read(meant.settings, route))
    nothing = "No differences are kept."
    if route is not None and not report.groups:
        # One that the app has not got any more may have some all the same.
        row = find_row(table_of(meant.settings), route)
        if not row.switched:
            side = "native" if row.native is not None else "legacy"
            nothing = f"No differences are kept: {route} is on the {side} side alone, so nothing is compared."
    meant.announce()
    if as_json:
        click.echo(json.dumps(report.as_data(last), indent=2))
        return
    console = table_console()
    if route is None or not report.groups:
        console.print(_table(report.groups, _builds(meant.settings)) if report.groups else nothing)
    else:
        for group in report.groups:
            console.print(_panel(group, last))
    if route is None and len(report.noise) > MOST_NOISE:  # what people came for stands above
        ask = "graft differences ROUTE lists it"
        console.print(Text(f"noise was learned on {len(report.noise)} routes; {ask}", "dim"))
        report = replace(report, noise={})
    for key, learned in report.noise.items():
        console.print(Text(f"learned to be noise on {key}: {', '.join(learned)}", "dim"))
    for key, places in report.untold.items():
        hint = "users never repeat a request; resample = 5 in switches.toml tells"
        console.print(Text(f"not told on {key}: {', '.join(places)} ({hint})"))


def _clear(settings: Settings, route: RouteKey | None, *, sure: bool, as_json: bool) -> None:
    where = ", ".join(settings.elasticsearch_url) or str(settings.data)
    of = f"of {route}" if route is not None else "of all routes"
    if not sure:
        click.confirm(f"Delete the differences {of} that are kept at {where}?", abort=True, err=True)
    cleared = asyncio.run(_cleared(settings, route))
    echo(json.dumps({"cleared": cleared}) if as_json else f"{cleared} differences {of} were deleted at {where}.")


async def _cleared(settings: Settings, route: RouteKey | None) -> int:
    async with open_client(settings) as client:
        try:
            return await difference_store(settings, client).clear(route)
        except DifferencesError as error:
            raise DifferencesError(f"The differences can't be cleared: {error}") from None


async def _read(settings: Settings, route: RouteKey | None) -> Report:
    async with open_client(settings) as client:
        try:
            return await read_report(difference_store(settings, client), route)
        except DifferencesError as error:
            raise DifferencesError(f"The differences can't be read: {error}") from None


def _builds(settings: Settings) -> dict[str, str]:
    """The builds that run now, by route; nothing where no gateway does."""
    counted = figures(settings)
    return {name: each.build for name, each in counted.routes.items()} if counted.running else {}


def _table(groups: list[Group], builds: Mapping[str, str]) -> Table:
    """Nothing is cut off, however narrow the terminal: the end of a place is what tells it from others."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("route", overflow="fold", min_width=16)
    table.add_column("what differs", overflow="fold", ratio=1)
    table.add_column("last seen", overflow="fold")
    for group in groups:
        newest = group.newest[0]
        seen = str(newest.get("at", ""))[:19].replace("T", " ")
        what = Text.assemble(*([(f"{newest['failure']}\n", "red")] if newest.get("failure") else []), group.what)
        now = builds.get(str(group.route))
        is_old = bool(now) and newest.get("version") not in (None, now)
        if is_old:
            what.append("\nof an earlier build", "yellow")
        table.add_row(str(group.count), Text(str(group.route)), what, seen, style="dim" if is_old else "")
    return table


def _panel(group: Group, last: int) -> Panel:
    examples = [_example(detail) for detail in group.newest[:last]]
    return Panel(
        Lines(*examples), title=Text(f"{group.what}  ({group.count} times)"), title_align="left", border_style="yellow"
    )


def _example(detail: dict[str, Any]) -> Lines:
    request = detail["request"]
    failure = detail.get("failure")  # in none that an earlier version has kept
    lines: list[Any] = [
        *([Text(failure, "bold red")] if failure else []),
        Text(f"{request['method']} {request['url']}", "bold"),
        Text(f"{detail['at']}  request {detail['request_id'] or '-'}  answered by {detail['answered_by']}", "dim"),
    ]
    origin = [str(detail[name]) for name in ("host", "environment", "version") if detail.get(name)]
    if origin:
        lines.append(Text(f"on {', '.join(origin)}", "dim"))
    if detail["note"]:
        lines.append(Text(detail["note"], "yellow"))
    if detail["differences"]:
        lines.append(_places(detail["differences"]))
    for side in ("native", "legacy"):
        answer = detail[side]
        lines.append(Text(f"{side}: {answer['status']} in {answer['latency_ms']:.1f} ms", "bold"))
        body = answer["error"] or answer["body"]
        lines.append(Text(body if len(body) <= _SHOWN_BODY else f"{body[:_SHOWN_BODY]}..."))
    return Lines(*lines)


def _places(differences: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("where", "native", "legacy"):
        table.add_column(heading, overflow="fold")
    for each in differences[:20]:
        table.add_row(Text(each["where"]), _value(each["native"]), _value(each["legacy"]))
    if len(differences) > 20:
        table.add_row(f"... and {len(differences) - 20} more", "", "")
    return table


def _value(value: str | None) -> Text:
    return Text("(not there)", "dim") if value is None else Text(value)
