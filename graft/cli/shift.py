"""``graft shift``: how much of a route the native side answers."""

from __future__ import annotations

import json

import click

from graft.cli.arguments import PERCENT, ROUTE, as_json, force, say_set_aside, switched_route, user
from graft.cli.output import echo
from graft.cli.target import target
from graft.operations import open_state
from graft.operations.shift import shift
from graft.operations.state import Transition
from graft.types import RouteKey

__all__ = ["command", "print_transition"]


@click.command("shift")
@click.argument("route", type=ROUTE)
@click.argument("percent", type=PERCENT)
@click.option("--why", help="The reason, for the history.")
@force
@as_json
def command(route: RouteKey, percent: float, why: str | None, force: bool, as_json: bool) -> None:
    """Have the native side answer PERCENT of the requests of ROUTE.

    Clients are sticky: who is native at 10 is native at 50 as well. Running workers follow within half a second; the
    gateway need not be up. It also takes back a trip. The app is loaded to see whether ROUTE is a switched route of it,
    unless the share goes down.

    Ends with 0 when it is set, 1 when a person holds the route, 2 when there is no such route or something is wrong.

    \b
      graft shift "GET /api/articles/{id:int}" 10
      graft shift "GET /api/articles/{id:int}" 0 --why "slow since noon"
    """
    meant = target(changes=True)
    state = open_state(meant.settings)
    if percent == 0:
        say_set_aside(state, state.set_broken_aside(or_empty=False))
    entry = state.read().get(route)
    if entry is None or percent > entry.share:
        route = switched_route(route, meant.settings, force=force)
    print_transition(shift(state, route, percent, by=user(), why=why), as_json)
    meant.report(changed=True)


def print_transition(transition: Transition, as_json: bool) -> None:
    """Print what was set and what it was."""
    before, after = transition.before, transition.after
    if as_json:
        click.echo(json.dumps({"route": str(transition.key), "share": after.share, "mirror": after.mirror}))
        return
    echo(
        f"{transition.key}: share {_change(before.share, after.share)}, mirror {_change(before.mirror, after.mirror)}"
        + (f" (was tripped: {before.tripped})" if before.tripped and not after.tripped else "")
    )


def _change(before: float, after: float) -> str:
    return f"{after:g}" if before == after else f"{before:g} -> {after:g}"
