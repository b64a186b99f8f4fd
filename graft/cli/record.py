"""``graft record``: keep what the legacy side answers, without its secrets, to verify native routes by."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from graft.cli.arguments import ROUTE, as_json
from graft.cli.output import echo
from graft.cli.target import Target, target
from graft.control.offline import table_of
from graft.mirroring.redaction_key import redaction_key
from graft.operations.routes import find_row
from graft.operations.switches import load
from graft.recordings.finder import RuleFinder
from graft.recordings.har import Written, entries, write_recordings
from graft.recordings.imported import imported
from graft.recordings.redaction import RouteRedactors
from graft.routing.table import RouteTable
from graft.settings import DifferencesKept, Settings
from graft.types import RouteKey

__all__ = ["command"]


@click.command("record")
@click.argument("route", type=ROUTE, required=False)
@click.option(
    "--import",
    "har",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take it from a HAR file of a browser or a proxy.",
)
@click.option(
    "--host", "hosts", multiple=True, help="With --import: the app's host there. [default: the most frequent]"
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder. [GRAFT_DATA/recordings]")
@as_json
def command(route: RouteKey | None, har: Path | None, hosts: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Keep requests of ROUTE, or of all routes, and what the Flask app answered, for graft verify and graft scaffold.

    With --import they come from a HAR file, which browsers write (network tab: save all as HAR with content), and
    proxies too. What does not belong to a rule of the Flask app is left out.

    They are kept as HAR files, for this user alone, without secrets: cookies, tokens, passwords and what else looks
    like one is struck before it reaches the disk, as in stored differences; "redact" in switches.toml names more.
    Names and addresses of people may still be in them: treat them as you treat the app's logs.

    Ends with 0, or with 2 when nothing was kept or something is wrong.

    \b
      graft record --import access.har
      graft record "GET /articles/<int:id>" --import access.har --out tests/recordings
    """
    if har is None:
        raise click.UsageError("Name the file: --import access.har.")
    meant = target(changes=False)
    _refuse_shape(meant.settings)
    written, note = _import(meant, har, route, hosts, out)
    if as_json:
        click.echo(json.dumps({"file": str(written.path), "exchanges": written.exchanges, "bytes": written.size}))
    else:
        echo(f"{written.path}: {written.exchanges} exchanges, {written.size / 1024:.0f} KB{note}")


def _import(
    meant: Target, har: Path, route: RouteKey | None, hosts: tuple[str, ...], out: Path | None
) -> tuple[Written, str]:
    found = entries(har)
    table = table_of(meant.settings)
    rules = [rule for row in table for rule in row.rules]
    taken = imported(
        found,
        RuleFinder(rules),
        RouteRedactors(table, load(meant.settings.switches), redaction_key(meant.settings.data)),
        hosts=hosts,
        routes=rule_keys(table, route) if route is not None else (),
    )
    if not taken.exchanges:
        what = f"is for {route}" if route is not None else "is for a rule of the Flask app"
        raise click.UsageError(
            f"None of the {len(found)} entries of {har} {what}. Is it of another site? --host names it."
        )
    folder = out or meant.settings.data / "recordings"
    written = write_recordings(folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{har.stem}.har", taken.exchanges)
    left = f"; {taken.others} entries are not for the app at {', '.join(taken.hosts)}" if taken.others else ""
    return written, left


def _refuse_shape(settings: Settings) -> None:
    if settings.differences is DifferencesKept.SHAPE:
        raise click.UsageError("GRAFT_DIFFERENCES=shape says that no values are kept, and a recording is values.")


def rule_keys(table: RouteTable, route: RouteKey) -> tuple[str, ...]:
    """The keys of the Flask app's rules that ``route`` stands for. Raises UnknownRoute."""
    return tuple(str(rule.key) for rule in find_row(table, route).rules)
