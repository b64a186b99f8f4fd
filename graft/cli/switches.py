"""``graft switches``: between the fleet and a file, for reviews and Git."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import click

from graft import files
from graft.cli.arguments import as_json, user
from graft.cli.output import echo
from graft.cli.target import Target, target
from graft.errors import GraftError, SettingError
from graft.fleet.fleet_state import FleetState
from graft.operations.sentences import change_text
from graft.operations.state import Cause, Event, Transition
from graft.operations.switches import read

__all__ = ["command"]

_HEADER = re.compile(r"\A# (fleet \S+, revision (\d+)): graft switches push gives it back\n")

file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), required=False)


@click.group("switches")
def command() -> None:
    """Move the switches of a fleet (GRAFT_FLEET) into a file and back, for reviews and Git.

    A fleet keeps its switches in its cluster; switches.toml is only what an empty one begins with. pull writes them
    into the file, diff shows what push would change, push makes the file the fleet's switches.

    Push gives back what was pulled: the file's first line has the fleet's revision, and where somebody has changed the
    fleet since, push says so and changes nothing.

    \b
      graft switches pull
      git diff switches.toml
      graft switches push --why "reviewed in #123"
    """


@command.command("pull")
@file
def pull(file: Path | None) -> None:
    """Write the fleet's switches into FILE, by default the one of GRAFT_SWITCHES; "-" prints them.

    Comments and order are as they were pushed.

    Ends with 0, or with 2 where the cluster can't be asked or the file can't be written.
    """
    meant = target(changes=False)
    state = _fleet(meant)
    snapshot = state.cluster.read()
    if snapshot is None:
        raise GraftError(f"{state.place} has no switches yet. To begin it with a file: graft switches push FILE")
    header = f"# fleet {state.cluster.name}, revision {snapshot.revision}: graft switches push gives it back\n"
    text = header + snapshot.text
    if file == Path("-"):
        echo(text.removesuffix("\n"))
        return
    place = file or meant.settings.switches
    try:
        files.replace(place, text.encode())
    except OSError as error:
        raise SettingError(str(place), f"can't be written: {error.strerror}", "Name another file.") from None
    echo(f"{state.place}, revision {snapshot.revision}, is in {place}", err=True)


@command.command("diff")
@file
def diff(file: Path | None) -> None:
    """Show what push would change, from the fleet to FILE, as a unified diff.

    Ends with 0 where they are the same, 1 where they differ, 2 when something is wrong.
    """
    meant = target(changes=False)
    state = _fleet(meant)
    place = file or meant.settings.switches
    _, text = _parts(read(place))
    snapshot = state.cluster.read()
    there = snapshot.text if snapshot is not None else ""
    name = f"{state.place}, revision {snapshot.revision if snapshot is not None else 0}"
    lines = list(difflib.unified_diff(there.splitlines(), text.splitlines(), name, str(place), lineterm=""))
    for line in lines:
        echo(line)
    raise SystemExit(1 if lines else 0)


@command.command("push")
@file
@click.option("--why", help="The reason, for the history.")
@click.option("--force", is_flag=True, help="Over what others have changed since, and a file that was never pulled.")
@as_json
def push(file: Path | None, why: str | None, force: bool, as_json: bool) -> None:
    """Make FILE the fleet's switches, as one change of all its routes.

    Ends with 0 when it is done, 1 where somebody has changed the fleet since the file was pulled, or a held route would
    go up, 2 when the file is wrong or the cluster can't be asked.
    """
    meant = target(changes=True)
    state = _fleet(meant)
    place = file or meant.settings.switches
    found = read(place)
    if not found:
        raise SettingError(
            str(place), "there is no such file, or nothing in it", "Name the file: graft switches push FILE."
        )
    revision, text = _parts(found)
    if revision is None and not force and state.cluster.read() is not None:
        mend = "Pull first; or, if this file is what the fleet shall have: graft switches push --force."
        raise SettingError(str(place), f"was never pulled from {state.place}, which has switches already", mend)
    changed = state.replace(text, Cause("push", user(), why), knowing=None if force else revision)
    if as_json:
        click.echo(json.dumps({"routes": [str(each.key) for each in changed]}))
    else:
        for line in _lines(changed):
            echo(line)
    meant.report(changed=bool(changed))


def _fleet(meant: Target) -> FleetState:
    if meant.settings.fleet is None:
        mend = "graft switches moves between a fleet and a file; without one, the file is all there is."
        raise SettingError("GRAFT_FLEET", "is not set", mend)
    return FleetState.of(meant.settings.fleet, meant.settings)


def _parts(text: str) -> tuple[int | None, str]:
    """The revision that a file was pulled at, None for one that was not, and the switches in it."""
    header = _HEADER.match(text)
    return (int(header[2]), text[header.end() :]) if header else (None, text)


def _lines(changed: Iterable[Transition]) -> Iterable[str]:
    for each in changed:
        names = each.before.__dataclass_fields__
        event = Event.of(each, names, Cause("push", ""))
        yield f"{each.key}: {change_text(event.before, event.after) if event is not None else 'nothing'}"
