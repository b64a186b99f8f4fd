"""``graft release``: the end of a hold."""

from __future__ import annotations

import json

import click

from graft.cli.arguments import ROUTE, as_json, user
from graft.cli.output import echo
from graft.cli.target import target
from graft.errors import UnknownRoute
from graft.operations import open_state
from graft.operations.hold import release
from graft.operations.routes import suggestion
from graft.types import RouteKey

__all__ = ["command"]


@click.command("release")
@click.argument("route", type=ROUTE)
@click.option("--why", help="The reason, for the history.")
@as_json
def command(route: RouteKey, why: str | None, as_json: bool) -> None:
    """Let ROUTE move again that somebody holds (graft rollback ROUTE --hold WHY).

    Its share stays where it is; graft shift and graft promote work again.

    Ends with 0 when it is not held any more, 2 when there is no such route or something is wrong.

    \b
      graft release "GET /api/articles/{id:int}"
      graft release "GET /api/articles/{id:int}" --why "totals are mended"
    """
    meant = target(changes=True)
    state = open_state(meant.settings)
    entries = state.read()
    if route not in entries:
        held = ", ".join(f'"{key}"' for key, switch in entries.items() if switch.hold is not None) or "none"
        raise UnknownRoute(f'{state.place} has no entry for "{route}".{suggestion(route, entries)} Held: {held}.')
    before = release(state, route, by=user(), why=why).before
    if as_json:
        click.echo(json.dumps({"route": str(route), "hold": None, "was": before.hold}))
    elif before.hold is None:
        echo(f"{route} is not held.")
    else:
        echo(f"{route}: released (was held: {before.hold})")
    meant.report(changed=before.hold is not None)
