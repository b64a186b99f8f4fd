"""``graft shift``: how much of a route the native side answers."""

from __future__ import annotations

import json

import click

from graft.cli.arguments import PERCENT, ROUTE, as_json, warn_if_unknown
from graft.operations.edits import set_switch
from graft.operations.switches import Switch, load
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]


@click.command("shift")
@click.argument("route", type=ROUTE)
@click.argument("percent", type=PERCENT)
@as_json
def command(route: RouteKey, percent: float, as_json: bool) -> None:
    """Have the native side answer PERCENT of the requests of ROUTE.

    Clients are sticky: who is native at 10 is native at 50 as well. Running workers follow within half a second; the
    gateway need not be up. It also takes back a trip.

    \b
      graft shift "GET /api/articles/{id:int}" 10
    """
    settings = Settings.load()
    before = load(settings.switches).for_route(route)
    warn_if_unknown(route, settings)
    switches = set_switch(settings.switches, route, share=percent, tripped=None, tripped_at=None)
    tell(route, before, switches.for_route(route), as_json)


def tell(route: RouteKey, before: Switch, after: Switch, as_json: bool) -> None:
    """Print what was set and what it was."""
    if as_json:
        click.echo(json.dumps({"route": str(route), "share": after.share, "mirror": after.mirror}))
        return
    click.echo(
        f"{route}: share {_change(before.share, after.share)}, mirror {_change(before.mirror, after.mirror)}"
        + (f" (was tripped: {before.tripped})" if before.tripped and not after.tripped else "")
    )


def _change(before: float, after: float) -> str:
    return f"{after:g}" if before == after else f"{before:g} -> {after:g}"
