"""``graft init``: put Graft around a Flask project that is there already."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from graft.cli.deployment import HOST
from graft.cli.discovery import Found, find_apps
from graft.cli.output import echo
from graft.cli.project_files import Action, ProjectFiles, carry_out
from graft.errors import GraftError

__all__ = ["command"]

_SHOWN = 5


@click.command("init")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option(
    "--app",
    "target",
    envvar="GRAFT_LEGACY",
    help="The Flask app, as in shop.web:app or shop:create_app. [env: GRAFT_LEGACY; default: found by reading]",
)
@click.option("--host", default=HOST, show_default=True, help="The name of the site, for Nginx's file.")
@click.option("--deploy/--no-deploy", default=True, help="Write deploy/, or leave it out.", show_default=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@click.pass_context
def command(context: click.Context, folder: Path, target: str | None, host: str, deploy: bool, dry_run: bool) -> None:
    """Put Graft around the Flask project in FOLDER, by default this one.

    It finds the app by reading the files (FLASK_APP, .flaskenv, wsgi.py, app.py, create_app in packages) and imports
    nothing. It writes gateway.py, gunicorn.conf.py, async_routes/ with one example and a test of it, adds lines to
    .env, requirements.txt and .gitignore, and writes deploy/: Dockerfile, compose.yaml, a systemd unit, Nginx's site
    and a Kubernetes base, all for this app. Files that are there stay as they are; the Flask app is not touched.

    \b
      graft init
      graft init --app httpbin:app     an app that is installed, or that isn't found by reading
      graft init ~/shop --app shop:create_app
      graft init --host shop.example.org
      graft init --dry-run
    """
    place = "--app" if context.get_parameter_source("target") is ParameterSource.COMMANDLINE else "GRAFT_LEGACY"
    chosen, others = (Found(target, place, 100), []) if target else _choose(folder)
    if ":" not in chosen.target:
        raise click.BadParameter(f"{chosen.target!r} is not module:attribute, as in shop.web:app", param_hint=place)
    files = ProjectFiles(folder, chosen.target, deploy, host)
    echo(f"The Flask app is {chosen.target} (read in {chosen.place}).")
    if others:
        echo(f"  Also found: {', '.join(one.target for one in others)}; --app names another.")
    _warn(folder, chosen)
    steps = files.steps()
    for step in steps:
        what = f"would {step.action}" if dry_run and step.action is not Action.KEEP else str(step.action)
        echo(f"  {what:12} {_short_path(step.path)}" + (f"  ({step.why})" if step.why else ""))
    if dry_run:
        return
    carry_out(steps)
    _print_next(folder, files)


def _choose(folder: Path) -> tuple[Found, list[Found]]:
    """The app, and what else could have been meant."""
    found = find_apps(folder)
    if not found:
        raise GraftError(
            f"no Flask app was found in {folder.resolve()}. {_package_hint(folder)}"
            "Name it: graft init --app module:attribute, as in shop.web:app."
        )
    if len(found) > 1 and _is_terminal():
        return _ask(found[:_SHOWN]), []
    return found[0], found[1:_SHOWN]


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(found: list[Found]) -> Found:
    for number, one in enumerate(found, 1):
        echo(f"  {number}  {one.target}  (read in {one.place})")
    choice = click.prompt("Which one is the app?", type=click.IntRange(1, len(found)), default=1)
    return found[choice - 1]


def _package_hint(folder: Path) -> str:
    return "This folder is a package itself: go one up. " if (folder / "__init__.py").exists() else ""


def _warn(folder: Path, chosen: Found) -> None:
    if chosen.needs:
        echo(
            f"! It needs arguments ({', '.join(chosen.needs)}): write them in .env, as in "
            f"GRAFT_LEGACY='{chosen.target}(\"production\")'."
        )
    module = chosen.target.partition(":")[0].partition(".")[0]
    if (folder / "src" / module).exists() or (folder / "src" / f"{module}.py").exists():
        echo("! It is below src: pip install -e . makes it importable.")


def _print_next(folder: Path, files: ProjectFiles) -> None:
    pip, doctor, serve = "pip install -r requirements.txt", "graft doctor", f"python {files.gateway}.py"
    if folder.resolve() != Path.cwd():
        pip = f"cd {shlex.quote(str(folder))} && {pip}"
    echo(
        "\nNext:\n"
        f"  1. {pip}\n"
        f"  2. {doctor}   checks that the app starts, and what else is needed\n"
        f"  3. {serve}   serves the app as before, and /graft-hello natively\n"
        "Then copy a slow route to async_routes/ under the same path: it starts dark, and is compared first."
    )


def _short_path(path: Path) -> str:
    return os.path.relpath(path)
