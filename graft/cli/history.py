"""``graft history``: who changed what, when and why."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click
from rich.table import Table
from rich.text import Text

from graft.cli.arguments import ROUTE, as_json
from graft.cli.output import table_console
from graft.cli.target import target
from graft.control.offline import table_of
from graft.operations import open_state
from graft.operations.routes import find_row
from graft.operations.sentences import change_text
from graft.operations.state import Event
from graft.types import RouteKey

__all__ = ["command"]


@click.command("history")
@click.argument("route", type=ROUTE, required=False)
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True, help="So many, newest first.")
@as_json
def command(route: RouteKey | None, last: int, as_json: bool) -> None:
    """Who changed ROUTE, or any route: when, from what to what, and why.

    People are named by their login on the machine, or by the token that they used; "trip" is a share that went to 0 by
    itself, "promotion" a step of the gateway's climb. Who edits switches.toml by hand is named by the file's owner.

    Ends with 0, or with 2 when something is wrong.

    \b
      graft history
      graft history "GET /api/articles/{id:int}" --last 5
      graft history --json | jq '.history[] | select(.operation == "trip")'
    """
    meant = target(changes=False)
    events = open_state(meant.settings).history(route, last)
    if route is not None and not events:
        find_row(table_of(meant.settings), route)  # one that the app has not got any more has a history all the same
    meant.announce()
    if as_json:
        click.echo(json.dumps({"history": [event.as_data() for event in events]}, indent=2))
        return
    console = table_console()
    console.print(_table(events) if events else "Nothing was changed yet.")


def _table(events: Iterable[Event]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("when", "route", "what", "change", "by", "host", "why"):
        table.add_column(heading, overflow="fold")
    for event in events:
        when = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        change = change_text(event.before, event.after)
        cells = (when, str(event.key), event.operation, change, event.by, event.host, event.why or "")
        table.add_row(*map(Text, cells))
    return table
