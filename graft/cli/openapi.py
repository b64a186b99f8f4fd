"""``graft openapi``: the whole site as an OpenAPI 3.1 document."""

from __future__ import annotations

import json
from pathlib import Path

import click

from graft import files
from graft.cli.target import target
from graft.control.offline import table_of
from graft.errors import GraftError
from graft.routing.openapi import document

__all__ = ["command"]


@click.command("openapi")
@click.option("--native", is_flag=True, help="Only what native routes answer.")
@click.option("--title", default="The site", show_default=True, help="Its title.")
@click.option("--site-version", default="0", show_default=True, help="Its version.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout.")
def command(native: bool, title: str, site_version: str, output: Path | None) -> None:
    """Describe every route as OpenAPI 3.1: FastAPI's operations with their types, the others by path and docstring.

    "x-graft" of an operation says by which route key it is switched and which sides have it. The document is made from
    the settings, so the gateway need not be up.

    Ends with 0, or with 2 when a setting is wrong.

    \b
      graft openapi -o openapi.json
      graft openapi --native | jq '.paths | keys'
    """
    meant = target(changes=False)
    made = document(table_of(meant.settings), title=title, version=site_version, native_only=native)
    meant.announce()
    text = json.dumps(made, indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
    else:
        try:
            files.replace(output, f"{text}\n".encode())
        except OSError as error:
            raise GraftError(f"{output} can't be written: {error.strerror}") from None
        click.echo(f"{output}: {len(made['paths'])} paths.", err=True)
