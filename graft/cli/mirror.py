"""``graft mirror``: how much of a route is compared."""

from __future__ import annotations

import click

from graft.cli.arguments import PERCENT, ROUTE, as_json, warn_if_unknown
from graft.cli.shift import tell
from graft.operations.edits import set_switch
from graft.operations.switches import READING_METHODS, load
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]


@click.command("mirror")
@click.argument("route", type=ROUTE)
@click.argument("percent", type=PERCENT)
@as_json
def command(route: RouteKey, percent: float, as_json: bool) -> None:
    """Run PERCENT of the requests of ROUTE on the other side too, and compare.

    That happens when the user has the answer. See what differs with: graft differences ROUTE.

    \b
      graft mirror "GET /api/articles/{id:int}" 100
    """
    settings = Settings.load()
    before = load(settings.switches).for_route(route)
    warn_if_unknown(route, settings)
    if route.method not in READING_METHODS and percent > 0:
        click.echo(f"warning: {route.method} writes; a mirrored request is run by both sides.", err=True)
    switches = set_switch(settings.switches, route, mirror=percent)
    tell(route, before, switches.for_route(route), as_json)
