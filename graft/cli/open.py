"""``graft open``: the dashboard's link, with the admin token in it."""

from __future__ import annotations

import html
import os
import sys
import webbrowser
from pathlib import Path

import click

from graft.cli.output import echo
from graft.cli.target import target
from graft.control.token import admin_token, link, login_link_deferred
from graft.errors import GraftError

__all__ = ["command"]

PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}"><title>Graft</title>\n'


@click.command("open")
@click.option("--print", "only_print", is_flag=True, help="Show the link and open nothing: over ssh, and in scripts.")
def command(only_print: bool) -> None:
    """Show the link to the dashboard, and open it in a browser.

    The link holds the admin token, so it never stands in a log: without --print it is shown on a terminal only. For a
    gateway on another machine: ssh -L 8000:127.0.0.1:8000 HOST, and open there what graft open --print shows.

    Ends with 0, or with 2 when something is wrong.

    \b
      graft open
      graft open --print
    """
    if not only_print and not sys.stdout.isatty():
        raise GraftError("This is no terminal, so the link would stand in a log. To show it all the same: --print.")
    meant = target(changes=False)
    settings = meant.settings
    with login_link_deferred():
        token = admin_token(settings)
    if meant.address is not None and meant.address.startswith("unix:"):
        echo(f"/_graft/#token={token}")
        echo(f"This is below your site's address: the gateway itself listens at {meant.address}.", err=True)
        return
    url = link(settings, token)
    echo(url)
    if not only_print and not _open(settings.data / "open.html", url):
        echo("No browser was found here: open the link by hand.", err=True)


def _open(page: Path, url: str) -> bool:
    """By a page that only this user may read: a browser's command line is seen by everybody on the machine."""
    page.unlink(missing_ok=True)
    with open(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(PAGE.format(url=html.escape(url)))
    return webbrowser.open(page.absolute().as_uri())
