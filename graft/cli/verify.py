"""``graft verify``: ask both sides what was recorded, without a server, and say what differs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from graft import files
from graft.cli.arguments import as_json
from graft.cli.output import SafeConsole
from graft.cli.target import target
from graft.errors import GraftError
from graft.observe import logs
from graft.operations.routes import switched_row
from graft.recordings import Exchange, read_recordings
from graft.recordings.har import RecordingsError
from graft.recordings.order import FOLDER
from graft.settings import Settings
from graft.types import RouteKey
from graft.verification.fuzz import fuzz
from graft.verification.identity import Identity, session_of
from graft.verification.junit import junit_xml
from graft.verification.other_app import OtherApp, other_app
from graft.verification.sides import TwoSides, open_sides
from graft.verification.verify import Outcome, Verdict, Verification, verdicts

__all__ = ["command"]

_SHOWN = 20


@click.command("verify")
@click.argument("what", nargs=-1, metavar="[ROUTE] [RECORDINGS]...")
@click.option("--fuzz", "made_up", is_flag=True, help="Ask what nobody recorded, too. Needs hypothesis.")
@click.option("--examples", type=click.IntRange(1, 10_000), default=50, show_default=True, help="With --fuzz: a route.")
@click.option("--allow-writes", is_flag=True, help="Ask what writes too, and let both sides write.")
@click.option("--as", "user", metavar="USER", help="Log in by the app's session: user_id=1, or 1 with Flask-Login.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Ask with this header.")
@click.option("--app", "other", metavar="[FOLDER/]MODULE:APP", help="Ask this ASGI app in place of the native side.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML, for CI.")
@as_json
def command(
    what: tuple[str, ...],
    made_up: bool,
    examples: int,
    allow_writes: bool,
    user: str | None,
    headers: tuple[str, ...],
    other: str | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Ask both sides of ROUTE, or of all switched routes, what RECORDINGS have, and compare the answers.

    No server is needed, and no switch is changed: both sides run in this process, on the app's own database. They are
    compared as the mirror does it, by the route's entry in switches.toml ("ignore", "unordered", "tolerance"); what
    differs from answer to answer of the legacy side itself, as a time, does not count.

    It reads only: GET and HEAD are asked, and what tries to write all the same is refused and named, as in the mirror.
    --allow-writes asks the others too; both sides then write to the database that the app is configured for, the
    legacy side first: name a copy.

    RECORDINGS are HAR files or folders of them, by default GRAFT_DATA/recordings: graft record makes them. Secrets
    were struck from them, so nobody is logged in: --as and --header log in. What can't be asked without the secret is
    skipped and named.

    --app asks another ASGI app in place of the native side of all routes, such as the one that graft leave has written.
    It runs in a process of its own, in FOLDER, with its lifespan.

    --fuzz makes up more, for each switched GET route: values that its converters take, the names that its view reads
    from request.args, recorded values and strange ones in all combinations. Of what differs the smallest is shown. It
    needs no recordings, and only reads.

    Ends with 0 when all that could be compared is the same, 1 when something differs, 2 when nothing could be compared
    or something is wrong.

    \b
      graft verify
      graft verify "GET /articles/{id:int}" tests/recordings --junit verify.xml
      graft verify --fuzz --examples 200
      graft verify --as user_id=1
      graft verify --app ../shop-async/asgi:app
      graft verify --header "Authorization: Bearer of-the-tests"
    """
    route, paths = _read(what)
    meant = target(changes=False)
    settings = meant.settings
    if made_up and other is not None:
        raise click.UsageError("--fuzz asks what has a native side, so it can't be used with --app.")
    exchanges = _exchanges(paths, settings, needed=not made_up)
    asking = _Asking(settings, exchanges, route, other, user, headers, allow_writes, examples if made_up else 0)
    logs.configure(Settings.load(log_level="critical"))  # what is found stands alone, in the output
    with redirect_stdout(sys.stderr):  # what the app prints spoils no JSON
        found = asyncio.run(asking.run())
    if junit is not None:
        try:
            files.replace(junit, junit_xml(found))
        except OSError as error:
            raise GraftError(f"{junit} can't be written: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps(_data(found), indent=2))
    else:
        _print(SafeConsole(highlight=False, soft_wrap=True), found)
    if not found.compared:
        raise click.UsageError(_nothing(found, route, exchanges))
    if found.differing:
        sys.exit(1)


def _read(what: tuple[str, ...]) -> tuple[RouteKey | None, tuple[Path, ...]]:
    """A route has a method and a space; all else is a file or a folder."""
    route: RouteKey | None = None
    paths: list[Path] = []
    for each in what:
        try:
            key = RouteKey.parse(each)
        except ValueError:
            if not Path(each).exists():
                raise click.BadParameter(f"there is no file or folder {each}", param_hint="RECORDINGS") from None
            paths.append(Path(each).absolute())
            continue
        if route is not None:
            raise click.BadParameter("name one route, or none for all of them", param_hint="ROUTE")
        route = key
    return route, tuple(paths)


def _exchanges(paths: tuple[Path, ...], settings: Settings, *, needed: bool) -> list[Exchange]:
    try:
        return read_recordings(*(paths or (settings.data / FOLDER,)))
    except RecordingsError:
        if needed or paths:
            raise
        return []


@dataclass(frozen=True)
class _Asking:
    """One call of the command. ``examples`` is 0 without --fuzz."""

    settings: Settings
    exchanges: list[Exchange]
    route: RouteKey | None
    other: str | None
    user: str | None
    headers: tuple[str, ...]
    allow_writes: bool
    examples: int

    async def run(self) -> Verification:
        found = Verification()
        async with _other(self.other) as other, open_sides(self.settings, other) as sides:
            route = self.route
            if route is not None and self.other is None:
                route = switched_row(sides.table, route).key
            identity = _identity(sides, self.settings, self.user, self.headers)
            with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
                bar = progress.add_task("asking both sides", total=len(self.exchanges) or None)
                writes = self.allow_writes
                async for verdict in verdicts(
                    sides, self.exchanges, route=route, allow_writes=writes, identity=identity
                ):
                    found.verdicts.append(verdict)
                    progress.update(bar, advance=1)
                if self.examples:
                    async for verdict in fuzz(
                        sides, self.exchanges, route=route, examples=self.examples, identity=identity
                    ):
                        found.verdicts.append(verdict)
        return found


@asynccontextmanager
async def _other(name: str | None) -> AsyncIterator[OtherApp | None]:
    """``FOLDER/MODULE:APP``, in a process of its own."""
    if name is None:
        yield None
        return
    folder, _, module = name.rpartition("/")
    if not Path(folder or ".").is_dir():
        raise click.BadParameter(f"there is no folder {folder}", param_hint="--app")
    async with other_app(Path(folder or "."), module) as app:
        yield app


def _identity(sides: TwoSides, settings: Settings, user: str | None, headers: tuple[str, ...]) -> Identity:
    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{header!r} is no header; write 'Name: value'", param_hint="--header")
        pairs.append((name.strip(), value.strip()))
    session = session_of(sides.legacy_app, user, settings.log_user) if user is not None else Identity()
    return Identity(tuple(pairs), session.cookies)


def _print(console: Console, found: Verification) -> None:
    for verdict in found.differing:
        console.print(
            Text.assemble(("✗ " if console.options.encoding == "utf-8" else "x ", "red"), (verdict.name, "bold"))
        )
        if verdict.note is not None:
            console.print(Text(f"    {verdict.note}", "red" if verdict.outcome is Outcome.FAILED else "dim"))
        for each in verdict.differences[:_SHOWN]:
            console.print(Text(f"    {each.where} {each.change}"))
            console.print(Text(f"      - {_value(each.legacy)}", "red"))
            console.print(Text(f"      + {_value(each.native)}", "green"))
        if len(verdict.differences) > _SHOWN:
            console.print(Text(f"    and {len(verdict.differences) - _SHOWN} more", "dim"))
    for outcome in (Outcome.NOT_COMPARABLE, Outcome.SKIPPED):
        for note, group in _grouped(found.of(outcome)):
            names = ", ".join(verdict.name for verdict in group[:3])
            more = f" and {len(group) - 3} more" if len(group) > 3 else ""
            console.print(
                Text(f"{outcome}: {note}: {names}{more}", "yellow" if outcome is not Outcome.SKIPPED else "dim")
            )
    for note, group in _grouped(verdict for verdict in found.of(Outcome.SAME) if verdict.note is not None):
        console.print(
            Text(f"the same, but {note}: {group[0].name}{f' and {len(group) - 1} more' if group[1:] else ''}", "dim")
        )
    counts = [(len(found.of(outcome)), outcome.value) for outcome in Outcome]
    console.print(Text(", ".join(f"{count} {name}" for count, name in counts if count) or "nothing was asked"))
    if found.differing:
        console.print(Text("- is what the legacy side says, + the native side", "dim"))


def _grouped(verdicts: Iterable[Verdict]) -> list[tuple[str, list[Verdict]]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.note or "", []).append(verdict)
    return list(groups.items())


def _value(value: str | None) -> str:
    return "(not there)" if value is None else value


def _nothing(found: Verification, route: RouteKey | None, exchanges: list[Exchange]) -> str:
    if found.verdicts:
        return f"Nothing could be compared: {found.verdicts[0].note}."
    return f"None of the {len(exchanges)} recorded requests is for {route or 'a switched route'}."


def _data(found: Verification) -> dict[str, Any]:
    return {
        "compared": found.compared,
        **{outcome.value.replace(" ", "_"): len(found.of(outcome)) for outcome in Outcome},
        "requests": [
            {
                "request": verdict.name,
                "route": str(verdict.route) if verdict.route is not None else None,
                "outcome": verdict.outcome,
                "note": verdict.note,
                "differences": [
                    {"where": each.where, "change": each.change, "native": each.native, "legacy": each.legacy}
                    for each in verdict.differences
                ],
            }
            for verdict in found.verdicts
        ],
    }
