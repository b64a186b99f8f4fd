"""The gateway that a command means: found from any folder, named in what the command says, and never guessed.

``--gateway`` names it; else GRAFT_DATA or GRAFT_SWITCHES; else it is the one that was started in this folder or above
it; else this project's, even while it is down; else the only one that runs on this machine; else the only service that
is set up here; else, with GRAFT_FLEET, that fleet, from a machine that has none of its gateways. Where several could be
meant, or none is there, nothing is done: exit code 2.

The process then becomes as that gateway is: in its folder, with its environment. So a command reads the same settings
and the same ``.env``, and can load the app.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from graft.cli.option import named_gateway
from graft.cli.output import echo
from graft.errors import GraftError
from graft.gateways import places, processes
from graft.gateways.addresses import is_same_address
from graft.gateways.record import GatewayRecord
from graft.gateways.units import Unit, units
from graft.operations import open_state
from graft.settings import Settings, tell

__all__ = ["NoGateway", "Target", "looked", "target"]

_OF_THE_SESSION = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|COLORTERM|PWD|OLDPWD|SHLVL|_|LANG|LANGUAGE|LC_.*|TMPDIR|MAIL|EDITOR|VISUAL|PAGER"
    r"|DISPLAY|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|VIRTUAL_ENV|XDG_.*|SSH_.*|SUDO_.*|SUPERVISOR_.*|NOTIFY_SOCKET"
    r"|WATCHDOG_.*|LISTEN_.*|INVOCATION_ID|JOURNAL_STREAM|(MAIN|MANAGER)PID|RUNTIME_DIRECTORY|SERVER_SOFTWARE|GUNICORN_.*"
).fullmatch
"""Variables that are the person's own, or that a service manager means for its service alone."""


class NoGateway(GraftError):
    """No gateway is meant clearly, so nothing was done."""


@dataclass(frozen=True)
class Target:
    """What a command acts on. ``gateway`` is None while it is down, or not found; ``named`` is whether a person, a unit
    or the gateway itself named its files, rather than a folder alone: a gateway of that folder may go by others."""

    settings: Settings
    gateway: GatewayRecord | None
    named: bool

    @property
    def address(self) -> str | None:
        return self.gateway.addresses[0] if self.gateway is not None and self.gateway.addresses else None

    @property
    def place(self) -> str:
        """Where the switches are that a command shows or changes: a file, or a fleet and its cluster. Raises
        SettingError."""
        return open_state(self.settings).place

    def announce(self) -> None:
        """Say, beside the output, which switches and which gateway a command shows."""
        who = str(self.gateway) if self.gateway is not None else "no gateway is running"
        echo(f"{self.place}, {who}{' here' if self.settings.fleet and self.gateway is None else ''}", err=True)

    def report(self, *, changed: bool) -> None:
        """Say, beside the output, which switches a command has changed, or not, and who follows them."""
        outcome = f"{self.place} {'was changed' if changed else 'is as it was'}"
        if self.settings.fleet is not None:
            echo(outcome + ("; every host of it follows within a second" if changed else ""), err=True)
        elif self.gateway is not None:
            echo(f"{outcome}; {self.gateway} follows it", err=True)
        else:
            echo(f"no gateway is running; {outcome}", err=True)


def target(*, changes: bool) -> Target:
    """The gateway that this command means; ``changes`` is whether it may change something. (once, by the command)

    Raises NoGateway, and SettingError when a setting of that gateway is wrong.
    """
    if (name := named_gateway()) is not None:
        return _named(name)
    if os.environ.get("GRAFT_DATA") or os.environ.get("GRAFT_SWITCHES"):
        return _of_environment()
    try:
        return _near(Path.cwd(), changes=changes)
    except NoGateway:
        if not os.environ.get("GRAFT_FLEET"):
            raise
        return Target(Settings.load(), None, named=True)  # a fleet needs no gateway here


# -- --gateway --------------------------------------------------------------------------------------------------------


def _named(name: str) -> Target:
    if "://" in name or name.startswith("unix:"):
        address = name.rstrip("/")
        running = places.running_here()
        found = (
            [record for record in running if _listens_at(record, address)]
            or [record for record in _of_data() if _listens_at(record, address)]
            or processes.running_at(address)
        )
        if not found:
            raise NoGateway(f"No gateway of this machine is known to listen at {address}. {_known(running)} {looked()}")
        return _running(found)
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        raise NoGateway(f"{folder} is no folder. {_known(places.running_here())}")
    found = (
        places.running_in(folder)
        or [record for record in places.running_here() if _is_of(record, folder)]
        or processes.started_in(folder)
    )
    if found:
        return _running(found)
    if _is_project(folder):
        return _down(folder, _unit_in(folder))
    if (folder / "switches.toml").is_file():
        return _down_with_data(folder)
    raise NoGateway(
        f"No gateway is running in {folder}, and no gateway.py and no switches.toml is there. "
        f"{_known(places.running_here())}"
    )


def _of_data() -> list[GatewayRecord]:
    """Those of the data folder that the environment names: links to them may be where this shell does not look."""
    data = os.environ.get("GRAFT_DATA")
    return places.running_in(Path(data)) if data else []


def _listens_at(record: GatewayRecord, address: str) -> bool:
    return any(is_same_address(address, each) for each in record.addresses)


def _is_of(record: GatewayRecord, folder: Path) -> bool:
    return _same(folder, record.folder) or _same(folder, record.data)


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return one == other


# -- GRAFT_DATA and GRAFT_SWITCHES ------------------------------------------------------------------------------------


def _of_environment() -> Target:
    here = Settings.load()
    file = here.switches if os.environ.get("GRAFT_SWITCHES") else None
    if os.environ.get("GRAFT_DATA"):
        found = places.running_in(here.data)
        for record in found:
            if file is not None and not _same(file, record.switches):
                raise NoGateway(
                    f"GRAFT_SWITCHES names {file}, and {record} goes by {record.switches}. Name one of the two."
                )
    else:
        found = [record for record in places.running_here() if _same(here.switches, record.switches)]
    if found:
        return _running(found)
    if file is not None or here.switches.is_file() or _is_project(Path.cwd()):
        return Target(here, None, named=True)
    if (here.data / "switches.toml").is_file():
        return _down_with_data(here.data)
    raise NoGateway(
        f"No gateway is running with GRAFT_DATA={here.data}, and no switches.toml is there: say where it is with "
        f"GRAFT_SWITCHES. {_known(places.running_here())}"
    )


# -- this folder, this machine ----------------------------------------------------------------------------------------


def _near(folder: Path, *, changes: bool) -> Target:
    running = places.running_here()
    for each in (folder, *folder.parents):
        if found := [record for record in running if _is_of(record, each)]:
            return _running(found)
        if (each / "gateway.py").is_file() or (each == folder and _is_project(each)):
            return _of_project(each, running, changes=changes)
    if running:
        return _running(running)
    services = list(units())
    if len(services) > 1:
        raise NoGateway(
            "No gateway is running, and several are set up. Say which is meant: "
            + _choices(str(unit.folder) for unit in services if unit.folder)
        )
    if services:
        return _down(services[0].folder or folder, services[0])
    hidden = "".join(f" {place} may not be read by this user." for place in places.hidden())
    raise NoGateway(
        f"No gateway is found on this machine, and {folder} has no gateway.py and no switches.toml: nothing was "
        f"changed. Go to the project's folder, name the gateway by --gateway, or run this as its user.{hidden}"
    )


def _of_project(folder: Path, running: Sequence[GatewayRecord], *, changes: bool) -> Target:
    """None of ``running`` was started there: it is down, or runs where no link to it could be made."""
    unit = _unit_in(folder)
    target = _down(folder, unit)
    if target.gateway is None and unit is None and changes and running:
        ways = [*(_way(record) for record in running), str(folder)]
        raise NoGateway(f"No gateway is running in {folder}, and one is elsewhere. Say which: {_choices(ways)}")
    return target


def _is_project(folder: Path) -> bool:
    """Whether a gateway could be started there as it is."""
    there = any((folder / name).is_file() for name in ("gateway.py", "switches.toml"))
    return there or bool(os.environ.get("GRAFT_LEGACY")) or _names_an_app(folder / ".env")


def _names_an_app(dotenv: Path) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return "GRAFT_" in dotenv.read_text(encoding="utf-8", errors="replace")
    return False


def _unit_in(folder: Path) -> Unit | None:
    """The service that starts in this folder, if one is set up."""
    return next((unit for unit in units() if unit.folder is not None and _same(unit.folder, folder)), None)


# -- becoming it ------------------------------------------------------------------------------------------------------


def _running(found: Sequence[GatewayRecord]) -> Target:
    if len(found) > 1:
        raise NoGateway(f"Several gateways are running. Say which is meant: {_choices(map(_way, found))}")
    [record] = found
    _become(record.folder, {**_environment_of(record.pid), **record.settings})
    tell(**_address(record))
    return Target(Settings.load(), record, named=True)


def _down(folder: Path, unit: Unit | None) -> Target:
    """The gateway of ``folder``, which no link leads to: so it is down, or could make none."""
    _become(folder, unit.environment() if unit is not None else {})
    settings = Settings.load()
    found = [record for record in places.running_in(settings.data) if _same(record.switches, settings.switches)]
    return _running(found) if found else Target(settings, None, named=unit is not None)


def _down_with_data(data: Path) -> Target:
    """A data folder that has the switches too, as in the shipped services; what else was set is not known."""
    os.environ.update(GRAFT_DATA=str(data), GRAFT_SWITCHES=str(data / "switches.toml"))
    return Target(Settings.load(), None, named=True)


def _become(folder: Path, environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not _OF_THE_SESSION(name):
            os.environ[name] = value
    os.chdir(folder)
    inside = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = [place for place in inside if place not in sys.path]


def _environment_of(pid: int) -> dict[str, str]:
    """What the process was started with; nothing where the system does not tell this user."""
    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}


def _address(record: GatewayRecord) -> dict[str, object]:
    for address in record.addresses:
        host, colon, port = address.partition("://")[2].rpartition(":")
        if colon and port.isdigit():
            return {"host": host.strip("[]"), "port": int(port)}
    return {}


# -- what can be named ------------------------------------------------------------------------------------------------


def _way(record: GatewayRecord) -> str:
    return record.addresses[0] if record.addresses else str(record.data)


def _choices(ways: Iterable[str]) -> str:
    return " or ".join(f"--gateway {way}" for way in ways)


def _known(running: Sequence[GatewayRecord]) -> str:
    return f"Running here: {', '.join(map(_way, running))}." if running else "None is running here."


def looked() -> str:
    """Where a gateway is looked for, in words."""
    session = "" if os.environ.get("XDG_RUNTIME_DIR") else " (XDG_RUNTIME_DIR is not set)"
    folders = dict.fromkeys(str(folder / places.FOLDER) for folder in places.links_to_read())
    data = [f"{os.environ['GRAFT_DATA']}/{places.FOLDER}"] if os.environ.get("GRAFT_DATA") else []
    return f"Looked for in {', '.join([*folders, *data])}{session}, and among the processes of this user."
