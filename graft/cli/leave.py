"""``graft leave``: the app without Graft, once every route is native."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from graft.cli.output import echo
from graft.cli.target import target
from graft.leaving.obstacles import obstacles
from graft.leaving.project import Project
from graft.leaving.writing import write

__all__ = ["command"]


@click.command("leave")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def command(folder: Path | None) -> None:
    """Write the app without Graft into FOLDER, a new one; without FOLDER, say whether that can be done.

    It can when no rule of the Flask app is answered by Flask any more. Then FOLDER has the app that is left: asgi.py
    with the routes and the lifespan, your modules with stand-ins in place of what they imported of Graft, Flask's
    session cookie read and written as before, gunicorn.conf.py, requirements.txt and a test. Your project stays as it
    is.

    Ends with 0, with 1 when something is left to do, each on a line, or with 2 when a setting is wrong.

    \b
      graft leave
      graft leave ../shop-async && cd ../shop-async && gunicorn asgi:app
    """
    meant = target(changes=False)
    project = Project.of(meant.settings, Path.cwd())
    left = list(obstacles(project))
    meant.announce()
    if left:
        for sentence in left:
            click.echo(sentence)
        count = "1 thing is" if len(left) == 1 else f"{len(left)} things are"
        echo(f"not yet: {count} left. Nothing was written.", err=True)
        sys.exit(1)
    if folder is None:
        click.echo("Every route is native: graft leave FOLDER writes the app without Graft.")
        return
    written = write(project, folder)
    told = "Flask stays as a library" if project.needs_flask else "Flask is gone"
    click.echo(f"{folder}: {len(written)} files. {told}. Next, in that folder:")
    click.echo("  pip install -r requirements.txt pytest httpx2 && pytest && gunicorn asgi:app")
    click.echo(f"Does it answer as before? graft verify --app {folder / 'asgi:app'}")
