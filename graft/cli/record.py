"""``graft record``: keep what the legacy side answers, without its secrets, to verify native routes by."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from graft.cli.arguments import ROUTE, as_json
from graft.cli.output import echo
from graft.cli.target import Target, target
from graft.control.offline import table_of
from graft.errors import GraftError
from graft.mirroring.redaction_key import redaction_key
from graft.operations.routes import find_row
from graft.operations.switches import load
from graft.recordings.finder import RuleFinder
from graft.recordings.har import RecordingsError, entries, read_recordings, write_recordings
from graft.recordings.imported import imported
from graft.recordings.order import FOLDER, Order, read_order
from graft.recordings.redaction import RouteRedactors
from graft.routing.table import RouteTable
from graft.settings import DifferencesKept, Settings
from graft.types import RouteKey

__all__ = ["command"]

POLL = 0.2
QUIET = 1.0
"""Seconds without a change after which the workers have written what they had."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class _Duration(click.ParamType[float]):
    """``90s``, ``30m``, ``1h``: in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value).strip().lower())
        if found is None or not 0 < (seconds := float(found[1]) * _UNITS[found[2]]) <= 7 * 86400:
            self.fail(f"{value} is no time of at most 7 days; write 90s, 30m or 1h", param, ctx)
        return seconds


class _Sample(click.ParamType[float]):
    """``5%`` or ``5``."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            percent = float(str(value).strip().removesuffix("%"))
        except ValueError:
            percent = 0.0
        if not 0 < percent <= 100:
            self.fail(f"{value} is no percentage above 0; write 5% or 100%", param, ctx)
        return percent


class _Size(click.ParamType[int]):
    """``50M``: in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", str(value).strip().lower())
        if found is None or not (size := int(float(found[1]) * _SIZES[found[2]])):
            self.fail(f"{value} is no size; write 50M", param, ctx)
        return size


@click.command("record")
@click.argument("route", type=ROUTE, required=False)
@click.option("--for", "seconds", type=_Duration(), default="10m", show_default=True, help="How long: 90s, 30m, 1h.")
@click.option("--sample", type=_Sample(), default="5%", show_default=True, help="Percent of the legacy answers.")
@click.option("--max-size", "most_bytes", type=_Size(), default="50M", show_default=True, help="It ends there, too.")
@click.option("--stop", is_flag=True, help="End the recording that is on the way.")
@click.option(
    "--import",
    "har",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take it from a HAR file of a browser or a proxy.",
)
@click.option("--host", "hosts", multiple=True, help="With --import: the app's host. [default: the most frequent]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder. [GRAFT_DATA/recordings]")
@as_json
def command(
    route: RouteKey | None,
    seconds: float,
    sample: float,
    most_bytes: int,
    stop: bool,
    har: Path | None,
    hosts: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Keep requests of ROUTE, or of all routes, and what the Flask app answered, for graft verify and graft scaffold.

    It asks the running gateway: all of its workers on this host keep a sample of what the legacy side answers, each in
    a HAR file of its own. A request in the sample is answered as ever, and copied; all else happens behind the answer.
    It ends after --for, at --max-size, with Ctrl-C, or by graft record --stop from elsewhere; what was kept stays.

    With --import they come from a HAR file instead, which browsers write (network tab: save all as HAR with content),
    and proxies too. What does not belong to a rule of the Flask app is left out.

    The files are for this user alone, and without secrets: cookies, tokens, passwords and what else looks like one is
    struck before it reaches the disk, as in stored differences; "redact" in switches.toml names more. Names and
    addresses of people may still be in them: treat them as you treat the app's logs.

    Ends with 0, or with 2 when nothing was kept or something is wrong.

    \b
      graft record --for 1h --sample 5%
      graft record "GET /articles/{id:int}" --for 10m --sample 100%
      graft record --import access.har --out tests/recordings
    """
    meant = target(changes=har is None)
    if meant.settings.differences is DifferencesKept.SHAPE:
        raise click.UsageError("GRAFT_DIFFERENCES=shape says that no values are kept, and a recording is values.")
    if stop:
        _stop(meant)
        return
    if har is not None:
        written = [_import(meant, har, route, hosts, out)]
    else:
        written = _record(meant, route, seconds, sample, most_bytes, out)
    _tell(written, as_json)


def _rule_keys(table: RouteTable, route: RouteKey) -> tuple[str, ...]:
    """The keys of the Flask app's rules that ``route`` stands for. Raises UnknownRoute."""
    return tuple(str(rule.key) for rule in find_row(table, route).rules)


# -- a HAR file -------------------------------------------------------------------------------------------------------


def _import(meant: Target, har: Path, route: RouteKey | None, hosts: tuple[str, ...], out: Path | None) -> Path:
    found, settings = entries(har), meant.settings
    table = table_of(settings)
    taken = imported(
        found,
        RuleFinder(rule for row in table for rule in row.rules),
        RouteRedactors(table, load(settings.switches), redaction_key(settings.data)),
        hosts=hosts,
        routes=_rule_keys(table, route) if route is not None else (),
    )
    if not taken.exchanges:
        what = f"is for {route}" if route is not None else "is for a rule of the Flask app"
        raise click.UsageError(
            f"None of the {len(found)} entries of {har} {what}. Is it of another site? --host names it."
        )
    if taken.others:
        echo(f"{taken.others} entries are not for the app at {', '.join(taken.hosts)}", err=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}-{har.stem}.har"
    return write_recordings((out or settings.data / FOLDER) / name, taken.exchanges).path


# -- the running gateway ----------------------------------------------------------------------------------------------


def _record(
    meant: Target, route: RouteKey | None, seconds: float, sample: float, most_bytes: int, out: Path | None
) -> list[Path]:
    settings = meant.settings
    if meant.gateway is None:
        raise GraftError("No gateway is running whose answers could be recorded. Start it, or --import a HAR file.")
    routes = _rule_keys(table_of(settings), route) if route is not None else ()
    if route is not None and not routes:
        raise GraftError(f"{route} is no route of the Flask app, so nothing of it can be recorded.")
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    order = Order(name, routes, sample, time.time() + seconds, most_bytes)
    if not order.write(settings.data):
        raise GraftError("Somebody records already, one at a time. To end that one: graft record --stop.")
    meant.announce()
    try:
        _wait(order, settings, seconds)
    except KeyboardInterrupt:
        echo("ended", err=True)
    finally:
        order.remove(settings.data)
    _wait_for_workers(order, settings.data)
    files = list(order.recordings(settings.data))
    if not files:
        what = route or "any route"
        raise RecordingsError(f"Nothing was recorded: the legacy side answered no sampled request of {what} meanwhile.")
    return files if out is None else list(_moved(files, out))


def _wait(order: Order, settings: Settings, seconds: float) -> None:
    """Until it is over, or the order is gone."""
    columns = (TextColumn("recording"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("recording", total=order.most_bytes)
        time_left = progress.add_task("time", total=seconds, visible=False)
        while not order.is_over:
            there = read_order(settings.data)
            if there is None or there.id != order.id:
                return
            progress.update(bar, completed=order.size(settings.data))
            progress.update(time_left, completed=seconds - (order.until - time.time()))
            time.sleep(POLL)


def _wait_for_workers(order: Order, data: Path) -> None:
    """Until their files have stayed as they are for a while: they see the end a moment later, and write what waits."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET:
        now = order.size(data)
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(POLL / 4)


def _moved(files: Iterable[Path], out: Path) -> Iterable[Path]:
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in files:
            yield Path(shutil.move(path, out / path.name))
    except OSError as error:
        raise RecordingsError(f"{out} can't be written: {error.strerror}. Name another place by --out.") from None


def _stop(meant: Target) -> None:
    order = read_order(meant.settings.data)
    if order is None or order.is_over:
        echo("nobody records")
        return
    order.remove(meant.settings.data)
    echo("the recording ends")


# -- what was kept ----------------------------------------------------------------------------------------------------


def _tell(files: list[Path], as_json: bool) -> None:
    exchanges = read_recordings(*files)
    routes = Counter(exchange.route or "other" for exchange in exchanges)
    size = sum(path.stat().st_size for path in files)
    if as_json:
        found = {"files": list(map(str, files)), "exchanges": len(exchanges), "bytes": size, "routes": dict(routes)}
        click.echo(json.dumps(found, indent=2))
        return
    for name, count in routes.most_common():
        echo(f"{count:6}  {name}")
    echo(f"{len(exchanges)} exchanges, {size / 1024:.0f} KB: {', '.join(map(str, files))}")
    echo("next: graft verify, or graft scaffold ROUTE", err=True)
