"""``graft token``: a named token for the dashboard and the API."""

from __future__ import annotations

import json

import click

from graft.cli.arguments import as_json
from graft.cli.output import echo
from graft.control.tokens import SETTING, Role, new_token

__all__ = ["command"]


@click.command("token")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="viewer reads everything, operator may change it too.",
)
@as_json
def command(name: str, role: str, as_json: bool) -> None:
    """Make a token for NAME, whom the history will name. Nothing is stored: put the entry where GRAFT_ADMIN_TOKENS is.

    The token is shown this once; the entry has its hash alone. Several entries stand with commas between, or each on a
    line of a file that GRAFT_ADMIN_TOKENS names; the gateway reads them when it starts. To change a token, list old and
    new under one name, reload, hand out the new one, and take the old entry out.

    Ends with 0, or with 2 when NAME can't be one.

    \b
      graft token ada --role operator
      graft token "screen on the wall" --role viewer --json
    """
    try:
        secret, token = new_token(name, Role(role))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    if as_json:
        click.echo(json.dumps({"name": name, "role": role, "token": secret, "entry": token.entry}))
        return
    echo(f"token, shown this once: {secret}")
    echo(f"entry for {SETTING}: {token.entry}")
