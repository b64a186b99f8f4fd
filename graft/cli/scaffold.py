"""``graft scaffold``: a native module that begins as the twin of a Flask view."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from graft import files
from graft.cli.arguments import ROUTE, as_json
from graft.cli.output import echo
from graft.cli.target import target
from graft.control.offline import table_of
from graft.errors import GraftError
from graft.operations.routes import find_row
from graft.recordings import Exchange, read_recordings
from graft.recordings.finder import RuleFinder
from graft.recordings.har import RecordingsError
from graft.recordings.order import FOLDER
from graft.routing.table import RouteTable
from graft.scaffolding.contract import contract_test
from graft.scaffolding.models import Models, NoScaffoldExtra, answers_of, infer
from graft.scaffolding.module import Framework, module_text
from graft.scaffolding.translation import translate
from graft.scaffolding.view import View
from graft.settings import Settings
from graft.types import WEBSOCKET, RouteKey

__all__ = ["command"]


@click.command("scaffold")
@click.argument("route", type=ROUTE)
@click.option("--starlette", "framework", flag_value="starlette", default="starlette", help="In Starlette. [default]")
@click.option("--fastapi", "framework", flag_value="fastapi", help="In FastAPI, with models in its OpenAPI.")
@click.option("--quart", "framework", flag_value="quart", help="In Quart.")
@click.option(
    "--translate", "with_translation", is_flag=True, help="Rewrite the view's source, as far as that can be right."
)
@click.option(
    "--recordings",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="HAR files, or folders of them. [GRAFT_DATA/recordings]",
)
@click.option("--models/--no-models", default=True, help="Infer models from recorded JSON.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file. [by the view, in GRAFT_NATIVE]")
@click.option("--dry-run", is_flag=True, help="Only show the module.")
@as_json
def command(
    route: RouteKey,
    framework: str,
    with_translation: bool,
    recordings: tuple[Path, ...],
    models: bool,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a native module for ROUTE that answers as the Flask app does from the first minute.

    It calls the Flask view in a thread (legacy.view), so graft verify passes at once; the route starts dark, as every
    switched route does. Rewrite it then step by step: the view's source stands below it. With recordings of the route
    the module has models of its JSON, and the contract test that is written beside asks what was recorded.

    --translate rewrites the view as a Starlette route, as far as there is one right translation: what reads the
    request, the session and g, jsonify, abort, redirect, render_template and url_for in place; what may block goes to
    a legacy thread. Where something is left, the translation stands marked below, and the view goes on being called.

    Models need datamodel-code-generator, --translate needs libcst. No file is overwritten. Ends with 0, or with 2 when
    there is no such route or something is wrong.

    \b
      graft scaffold "GET /articles/{id:int}"
      graft scaffold "GET /articles/{id:int}" --translate
      graft verify "GET /articles/{id:int}"
    """
    if with_translation and framework != Framework.STARLETTE:
        raise click.UsageError("--translate writes Starlette. To Quart a view goes by its import, async and await.")
    settings = target(changes=False).settings
    view = _view(table := table_of(settings), route)
    exchanges = _recorded(view, table, recordings, settings)
    plan = _plan(view, Framework(framework), exchanges, models, with_translation)
    if dry_run:
        click.echo(plan.module, nl=False)
        return
    written = list(_write(plan, settings, out))
    if as_json:
        told = {"route": str(view.key), "files": list(map(str, written)), "marks": list(plan.marks)}
        click.echo(json.dumps(told, indent=2))
        return
    for path in written:
        echo(f"  write  {os.path.relpath(path)}")
    for mark in plan.marks:
        echo(f"  left   {mark}")
    echo(f'next: graft verify "{view.key}"' + (" --fuzz" if not exchanges else ""), err=True)


def _view(table: RouteTable, route: RouteKey) -> View:
    """Raises UnknownRoute, and GraftError for what has a native side or is no view."""
    row = find_row(table, route)
    if row.native is not None:
        raise GraftError(f"{row.key} is native already: {row.native.name}.")
    (rule,) = row.rules
    if rule.key.method == WEBSOCKET:
        raise GraftError(f"{rule.key} is a WebSocket: what it answers can't be written for it.")
    return View.of(rule)


def _recorded(view: View, table: RouteTable, paths: tuple[Path, ...], settings: Settings) -> list[Exchange]:
    """What was recorded of this rule."""
    try:
        exchanges = read_recordings(*(paths or (settings.data / FOLDER,)))
    except RecordingsError:
        if paths:
            raise
        return []
    finder = RuleFinder(rule for row in table for rule in row.rules)
    return [
        each
        for each in exchanges
        if (rule := finder.find(each.method, each.host.partition(":")[0], each.path)) is not None
        and rule.key == view.key
    ]


@dataclass(frozen=True)
class _Plan:
    """What is written for one view."""

    view: View
    module: str
    test: str | None
    marks: tuple[str, ...]


def _plan(
    view: View, framework: Framework, exchanges: list[Exchange], with_models: bool, with_translation: bool
) -> _Plan:
    models: Models | None = None
    if with_models and (answers := answers_of(exchanges)):
        try:
            models = infer(view.name, answers, framework.models)
        except NoScaffoldExtra as error:
            echo(str(error), err=True)  # a help, and no more
    translation = translate(view) if with_translation else None
    module = module_text(view, framework, models, translation)
    marks = translation.marks if translation is not None else ()
    return _Plan(view, module, contract_test(view, exchanges), marks)


def _write(plan: _Plan, settings: Settings, out: Path | None) -> Iterable[Path]:
    module = out or _package(settings) / f"{plan.view.name}.py"
    wanted = [(module, plan.module)]
    if plan.test is not None:
        wanted.append((Path("tests", f"test_{plan.view.name}_contract.py").absolute(), plan.test))
    for path, _ in wanted:
        if path.exists():
            raise GraftError(
                f"{path} is there already, and nothing was written. Name another file by --out, or move it."
            )
    for path, text in wanted:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.create(path, text.encode())
        except OSError as error:
            raise GraftError(f"{path} can't be written: {error.strerror}.") from None
        yield path


def _package(settings: Settings) -> Path:
    """The folder of GRAFT_NATIVE."""
    spec = find_spec(settings.native)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    if not folders:
        raise GraftError(f"GRAFT_NATIVE={settings.native} is no package that a module could go to. Name it by --out.")
    return Path(folders[0])
