"""``graft rollback``: the legacy side answers again."""

from __future__ import annotations

import json

import click

from graft.cli.arguments import ROUTE, as_json
from graft.errors import SwitchesError
from graft.operations.edits import edit
from graft.operations.switches import Switches
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]


@click.command("rollback")
@click.argument("route", type=ROUTE, required=False)
@click.option("--all", "everything", is_flag=True, help="Every route.")
@as_json
def command(route: RouteKey | None, everything: bool, as_json: bool) -> None:
    """Have the legacy side answer all requests of ROUTE, or of every route with --all.

    It only edits switches.toml, so it works with the gateway and Elasticsearch down. Workers follow within half a
    second. The mirror stays as it is: it shows what is wrong, and no user sees it.

    \b
      graft rollback "GET /api/articles/{id:int}"
      graft rollback --all
    """
    if (route is None) != everything:
        raise click.UsageError("Name a route, or say --all.")
    settings = Settings.load()
    with edit(settings.switches) as change:
        back = _shared(change.switches) if route is None else [_entry(route, change.switches, str(settings.switches))]
        for key in back:
            change.set(key, share=0)
        before = {key: change.switches[key].share for key in back}
    if as_json:
        click.echo(json.dumps({"routes": [{"route": str(key), "share": 0, "was": was} for key, was in before.items()]}))
        return
    for key, was in before.items():
        click.echo(f"{key}: share {was:g} -> 0")
    if not before:
        click.echo("Every route is at share 0 already.")


def _shared(switches: Switches) -> list[RouteKey]:
    return [key for key, switch in switches.items() if switch.share > 0]


def _entry(route: RouteKey, switches: Switches, path: str) -> RouteKey:
    """A route that has no entry can't be rolled back: to say that it was would hide a typing error."""
    if route not in switches:
        shared = ", ".join(f'"{key}"' for key in _shared(switches)) or "none"
        raise SwitchesError(path, f'has no entry for "{route}", so it is at share 0', f"Above 0: {shared}.")
    return route
