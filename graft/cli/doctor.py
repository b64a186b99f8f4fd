"""``graft doctor``: is everything there that the gateway needs, and what to mend."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path

import click
from rich.text import Text

from graft.cli.arguments import as_json
from graft.cli.checks import Finding, Findings, Status, error, express_way, machine, of_error, ok, requirements, warning
from graft.cli.output import SafeConsole
from graft.errors import SettingError
from graft.settings import Settings

__all__ = ["command"]

Check = tuple[str, Callable[[], Findings]]

_COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "bold red"}


@click.command("doctor")
@as_json
def command(as_json: bool) -> None:
    """Check Python, packages and what the app asks of them, which gateway commands mean, the legacy app, the native
    routes, switches.toml, search, the data folder, the token, the port and the proxy settings. Each line is ok, a
    warning or an error, with what to mend.

    It mends nothing by itself. The legacy app is imported, as the gateway does; a running gateway is no trouble.

    Ends with 1 when there is an error, else with 0; warnings don't count.

    \b
      graft doctor
      graft doctor --json | jq '.checks[] | select(.status != "ok")'
    """
    console = SafeConsole(soft_wrap=True, highlight=False)
    found = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            console.print(_line(finding))
    errors = sum(finding.status is Status.ERROR for finding in found)
    if as_json:
        checks = [
            {"name": each.name, "status": each.status, "message": each.message, "mend": each.mend} for each in found
        ]
        click.echo(json.dumps({"ok": not errors, "checks": checks}, indent=2))
    else:
        warnings = sum(finding.status is Status.WARNING for finding in found)
        console.print(f"\n{_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    raise SystemExit(1 if errors else 0)


def findings() -> Iterator[Finding]:
    """Every check's findings, in the order in which people start a gateway."""
    yield from _run([("python", machine.python), ("packages", machine.packages)])
    try:
        settings, gateway = _meant()
    except SettingError as raised:
        yield of_error("settings", raised)
        return
    yield ok("settings", "from the environment and .env")
    yield gateway
    yield from _run([("app requirements", partial(requirements.app_requirements, settings))])
    yield from _run(_checks(settings))


def _meant() -> tuple[Settings, Finding]:
    """The settings of the gateway that a command in this folder means, and which one it is; else this folder's."""
    try:
        from graft.cli.target import NoGateway, target
    except ImportError as failed:  # as for the app below
        return Settings.load(), error("gateway", f"could not be looked for: {failed}", "Install it first.")
    try:
        meant = target(changes=True)
    except NoGateway as none:
        return Settings.load(), warning("gateway", str(none), "Name it: graft --gateway WHICH doctor.")
    running = f"{meant.gateway}, which goes" if meant.gateway is not None else "none is running; commands go"
    return meant.settings, ok("gateway", f"{running} by {meant.place}")


def _checks(settings: Settings) -> Iterator[Check]:
    try:
        from graft.cli.checks.application import Application
    except ImportError as failed:  # a package is missing, which its own line has said
        reason = str(failed)
        yield "legacy app", lambda: iter([error("legacy app", f"could not be checked: {reason}", "Install it first.")])
    else:
        application = Application(settings)
        for name in ("legacy_app", "threads", "async_views", "async_clients", "native_routes", "switches", "search"):
            yield name.replace("_", " "), attrgetter(name)(application)
    yield "express way", lambda: express_way.express_way(Path("gateway.py"))
    for check in (machine.data_folder, machine.token, machine.port, machine.proxy):
        yield check.__name__.replace("_", " "), partial(check, settings)
    yield "open files", machine.files


def _run(checks: Iterable[Check]) -> Iterator[Finding]:
    for name, check in checks:
        try:
            yield from check()
        except Exception as failed:
            yield error(name, f"the check itself failed: {type(failed).__name__}: {failed}", "Please report this.")


def _line(finding: Finding) -> Text:
    line = Text.assemble(
        (f"{finding.status:8}", _COLOURS[finding.status]), (f"{finding.name}: ", "bold"), finding.message
    )
    return line.append(f"\n         {finding.mend}", "cyan") if finding.mend else line


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
