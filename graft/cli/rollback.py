"""``graft rollback``: the legacy side answers again."""

from __future__ import annotations

import json
from typing import Any

import click

from graft.cli.arguments import ROUTE, as_json, force, say_set_aside, switched_route, user
from graft.cli.output import echo
from graft.cli.target import NoGateway, looked, target
from graft.errors import UnknownRoute
from graft.operations import open_state
from graft.operations.rollback import rollback, rollback_all
from graft.operations.routes import suggestion
from graft.operations.state import State, Transition
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]


@click.command("rollback")
@click.argument("route", type=ROUTE, required=False)
@click.option("--all", "everything", is_flag=True, help="Every route.")
@click.option("--hold", metavar="WHY", help="Keep it at 0, and from being promoted, until: graft release.")
@click.option("--why", help="The reason, for the history.")
@click.option(
    "--host", "this_host", is_flag=True, help="Of a fleet: on this host at once, with its cluster there or not."
)
@force
@as_json
def command(
    route: RouteKey | None,
    everything: bool,
    hold: str | None,
    why: str | None,
    this_host: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Have the legacy side answer all requests of ROUTE, or of every route with --all.

    It only edits switches.toml, so it works with the gateway and Elasticsearch down. Workers follow within half a
    second. The mirror stays as it is: it shows what is wrong, and no user sees it. A broken switches.toml is set aside,
    and the last good one takes its place.

    In a fleet (GRAFT_FLEET) it is for all hosts, and asks the cluster. Where that can't be reached, --host takes the
    route back on this host, at once and through restarts; the fleet has it when it can be reached again, unless
    somebody has changed the route there meanwhile: then the newer change wins, and graft history shows both.

    With --hold WHY nobody moves the route up by accident: no promotion does, and graft shift says who holds it, and
    why. With --all, every route that switches.toml names is held.

    Ends with 0 when it is done, 2 when there is no such route, no gateway is meant clearly or something is wrong.

    \b
      graft rollback "GET /api/articles/{id:int}"
      graft rollback "GET /api/articles/{id:int}" --hold "wrong totals, see the ticket"
      graft rollback --all
      graft rollback --all --host
    """
    if (route is None) != everything:
        raise click.UsageError("Name a route, or say --all.")
    if hold is not None and not hold.strip():
        raise click.BadParameter("say why, as in --hold 'wrong totals'", param_hint="--hold")
    meant = target(changes=True)
    state = open_state(meant.settings, this_host=this_host)
    broken = state.set_broken_aside(or_empty=everything)
    say_set_aside(state, broken)
    if route is None:
        transitions = rollback_all(state, by=user(), why=why, hold=hold)
    else:
        route = _known(route, state, meant.settings, holds=hold is not None, force=force)
        transitions = (rollback(state, route, by=user(), why=why, hold=hold),)
    changed = broken is not None or any(transition.before != transition.after for transition in transitions)
    known = meant.settings.fleet is not None or (meant.named and meant.settings.switches.exists())
    if not changed and meant.gateway is None and not known:
        raise NoGateway(
            f"Nothing was changed: no gateway is running with {state.place}, and no route in it is above share 0. Is "
            "that the file of the gateway? Go there, or name it by --gateway, by its data folder or its address. "
            f"{looked()}"
        )
    if as_json:
        click.echo(json.dumps({"routes": [_as_data(transition) for transition in transitions]}))
    elif transitions:
        for transition in transitions:
            echo(_line(transition))
    else:
        echo(f"Every route in {state.place} is at share 0 already.")
    if waits := state.waits:
        echo(waits, err=True)
    else:
        meant.report(changed=changed)


def _known(route: RouteKey, state: State, settings: Settings, *, holds: bool, force: bool) -> RouteKey:
    """A route without an entry is at share 0: it can be held, but to say that it was rolled back would hide a typing
    error. Where it has one, nothing of the app is loaded."""
    entries = state.read()
    if route in entries:
        return route
    if holds:
        return switched_route(route, settings, force=force)
    shared = ", ".join(f'"{key}"' for key, switch in entries.items() if switch.share > 0) or "none"
    raise UnknownRoute(
        f'{state.place} has no entry for "{route}", so it is at share 0.{suggestion(route, entries)} Above 0: {shared}.'
    )


def _line(transition: Transition) -> str:
    before, after = transition.before, transition.after
    share = "share 0 already" if before.share == 0 else f"share {before.share:g} -> 0"
    return f"{transition.key}: {share}" + (f", held: {after.hold}" if after.hold is not None else "")


def _as_data(transition: Transition) -> dict[str, Any]:
    held = {} if transition.after.hold is None else {"hold": transition.after.hold}
    return {"route": str(transition.key), "share": 0, "was": transition.before.share, **held}
