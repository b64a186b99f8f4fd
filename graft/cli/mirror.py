"""``graft mirror``: how much of a route is compared."""

from __future__ import annotations

import click

from graft.cli.arguments import PERCENT, ROUTE, as_json, force, switched_route, user
from graft.cli.output import echo
from graft.cli.shift import print_transition
from graft.cli.target import target
from graft.operations import open_state
from graft.operations.mirror import mirror
from graft.operations.switch import READING_KEYS
from graft.types import WEBSOCKET, RouteKey

__all__ = ["command"]


@click.command("mirror")
@click.argument("route", type=ROUTE)
@click.argument("percent", type=PERCENT)
@click.option("--why", help="The reason, for the history.")
@force
@as_json
def command(route: RouteKey, percent: float, why: str | None, force: bool, as_json: bool) -> None:
    """Run PERCENT of the requests of ROUTE on the other side too, and compare.

    That happens when the user has the answer. See what differs with: graft differences ROUTE.

    Ends with 0 when it is set, 2 when there is no such route or something is wrong.

    \b
      graft mirror "GET /api/articles/{id:int}" 100
    """
    if route.method == WEBSOCKET and percent > 0:
        raise click.UsageError("A WebSocket has no mirror: a conversation can't be had twice.")
    meant = target(changes=True)
    state = open_state(meant.settings)
    entry = state.read().get(route)
    if entry is None or percent > entry.mirror:
        route = switched_route(route, meant.settings, force=force)
    if route.method not in READING_KEYS and percent > 0:
        echo(f"warning: {route.method} writes; a mirrored request is run by both sides.", err=True)
    print_transition(mirror(state, route, percent, by=user(), why=why), as_json)
    meant.report(changed=True)
