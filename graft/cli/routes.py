"""``graft routes``: who has each route, and how it fares on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from graft.cli.arguments import as_json
from graft.cli.output import echo, table_console
from graft.cli.target import Target, target
from graft.control import advice
from graft.control.offline import figures, metrics, table_of
from graft.control.overview import overview
from graft.control.token import admin_token, has_admin_token
from graft.errors import GraftError, SwitchesBroken, SwitchesError
from graft.gateways.client import GatewayClient
from graft.operations import open_state
from graft.operations.switches import Switches
from graft.routing.native import NativeRoute
from graft.routing.overlapping_routes import notes
from graft.settings import Settings

__all__ = ["command"]

_DASH = Text("-", "dim")


@click.command("routes")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also what can't be switched: a Host around an app, routes of other kinds.",
)
@click.option("--switched", is_flag=True, help="Only routes that both sides have.")
@click.option("--host", "this_host", is_flag=True, help="Of a fleet: with the figures of this host alone.")
@click.option("--advise", is_flag=True, help="What to move first: routes by what a native one would win.")
@as_json
def command(everything: bool, switched: bool, this_host: bool, advise: bool, as_json: bool) -> None:
    """Every rule of the Flask app and every native route: who has it, and how it fares.

    \b
      share      percent of requests that the native side answers;
                 "native" and "legacy": only that side has the route
      mirror     percent that also run on the other side, and are compared
      served     answers of all workers: native / legacy, and / fallback if any
      native ms  what half, and what 99 of 100 native answers took
      parity     percent of the compared answers that matched

    Of a fleet the figures are those of all hosts that live; with --host those of this one. A host that fails a route
    more than the others is pointed out below the table, and the builds of a route that runs in several stand there.

    Coverage is at the foot: of the Flask app's rules, and of its traffic, the percent served natively. The table is
    read from the settings and the figures from GRAFT_DATA/metrics, so the gateway need not be up; one that runs without
    Gunicorn is asked for its own. Without figures there are dashes. Below the table stands what deserves a look: rules
    that a native route takes requests from without a switch, other converters, missing methods.

    With --advise it is the Flask app's routes by what there is to win: how much of all views' time they take, how much
    of that they wait for others (one request of 32 is measured), and which would gain nothing by being native.

    Ends with 0, or with 2 when a setting is wrong.

    \b
      graft routes
      graft routes --advise
      graft routes --switched
      graft routes --json | jq '.coverage'
    """
    meant = target(changes=False)
    settings = meant.settings
    table = table_of(settings)
    if advise:
        meant.announce()
        _print_advice(advice.advise(table, metrics(settings)), as_json)
        return
    counted = figures(settings)
    state = open_state(settings)
    shown = counted.routes if this_host else state.of_all(counted.routes, counted.folder)
    data = overview(table, _switches(settings), shown, notes(table))
    if state.fleet is not None:
        data["fleet"] = {**state.fleet, **state.hosts(counted.routes, counted.folder)}
    counts, running = bool(shown), counted.running
    if not counts and (told := _told_by_gateway(meant, this_host)) is not None:
        data, counts, running = told, told["coverage"]["requests"] > 0, True
    if switched:
        data["routes"] = [row for row in data["routes"] if row["switched"]]
    meant.announce()
    others = [_other(native) for native in table.natives if not native.keys] if everything else []
    if as_json:
        click.echo(json.dumps({**data, **({"others": others} if everything else {})}, indent=2))
        return
    console = table_console()
    _print(console, data, others, counts, running)


def _told_by_gateway(meant: Target, this_host: bool) -> dict[str, Any] | None:
    """The same by the gateway that runs, which has its figures in its memory where it has no other worker; None where
    it can't be asked."""
    settings = meant.settings
    if meant.address is None or not has_admin_token(settings):
        return None
    try:
        told: dict[str, Any] = GatewayClient(meant.address, admin_token(settings)).get(
            f"/_graft/api/routes{'?host' if this_host else ''}"
        )
        return {name: told[name] for name in ("routes", "coverage", "fleet") if name in told}
    except (GraftError, KeyError, TypeError):
        return None


def _print_advice(found: list[advice.Advice], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"advice": [one.as_json() for one in found]}, indent=2))
        return
    console = table_console()
    if not found:
        console.print("Nothing to go by yet: figures come from a gateway under Gunicorn with this GRAFT_DATA.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("route", overflow="fold", min_width=16)
    for heading in ("requests", "of all time", "waiting ms", "cpu ms", "saved"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=20)
    for one in found:
        style = "bold green" if one.verdict in _WORTH_IT else "dim"
        times = (_DASH if each is None else Text(_short(each)) for each in (one.waiting_ms, one.cpu_ms))
        saved = Text(f"{one.saved:g} %", "bold") if one.saved else _DASH
        share = Text(f"{one.share_of_time:g} %")
        table.add_row(Text(one.route, style), Text(_count(one.requests)), share, *times, saved, Text(one.why, style))
    console.print(table)
    console.print(
        "\nsaved: of the time in which threads are busy with the Flask app, what a native route needs none for.",
        style="dim",
    )


_WORTH_IT = (advice.Verdict.WAITS, advice.Verdict.SMALL)


def _switches(settings: Settings) -> Switches:
    """What the workers go by: where switches.toml is broken, the last good ones."""
    state = open_state(settings)
    try:
        return state.read()
    except SwitchesBroken as error:
        with suppress(SwitchesError):
            found = state.last_good()
            echo(f"{error} The last good state is shown, by which the gateway goes.", err=True)
            return found
        raise


def _print(console: Console, data: dict[str, Any], others: list[dict[str, str]], counted: bool, running: bool) -> None:
    rows = data["routes"]
    if rows:
        console.print(_table(rows, counted))
    else:
        console.print("There is no route to show.")
    for other in others:
        console.print(Text.assemble((f"{other['kind']} ", "bold"), other["path"], (f"  {other['native']}", "dim")))
    _print_notes(console, rows)
    for each in data.get("fleet", {}).get("outliers", ()):
        told = f": {each['percent']:g} % of its native answers failed, {each['others']:g} % of the other hosts'"
        console.print(Text.assemble(("! ", "red"), (each["route"], "bold"), f" on {each['host']}{told}"))
    for route, builds in data.get("fleet", {}).get("builds", {}).items():
        console.print(Text.assemble((route, "bold"), " runs in several builds; its gates go by the least known one:"))
        for build in builds:
            console.print(Text(f"  {_build(build)}", "dim"))
    console.print()
    console.print(_foot(data["coverage"], counted, running), highlight=False)


def _build(build: dict[str, Any]) -> str:
    hosts, served = build["hosts"], build["served"]
    medians = (build["latency_ms"][side]["p50"] for side in ("native", "legacy"))
    native, legacy = (f" ({ms:g} ms)" if ms is not None else "" for ms in medians)
    return (
        f"{build['build']} on {hosts} host{'' if hosts == 1 else 's'}: {served['native']} native{native}, "
        f"{served['legacy']} legacy{legacy}, {build['matched']} of {build['compared']} matched"
    )


def _table(rows: Iterable[dict[str, Any]], counted: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("route", overflow="fold", min_width=16)
    for heading in ("share", "mirror", "served", "native ms", "legacy ms", "parity"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, counted))
    return table


def _cells(row: dict[str, Any], counted: bool) -> list[Text]:
    return [
        _route(row, counted),
        _share(row),
        Text(f"{row['mirror']:g}") if row["switched"] else _DASH,
        _served(row, counted),
        _latency(row["latency_ms"]["native"]),
        _latency(row["latency_ms"]["legacy"]),
        _parity(row),
    ]


def _route(row: dict[str, Any], counted: bool) -> Text:
    if row["tripped"]:
        return Text(row["route"], "bold red")
    return Text(row["route"], "bold" if row["switched"] else "dim" if counted and row["never_hit"] else "")


def _share(row: dict[str, Any]) -> Text:
    if row["switched"]:
        return Text(f"{row['share']:g}", "bold red" if row["tripped"] else "bold")
    return Text("native", "green") if row["native"] else Text("legacy", "yellow")


def _served(row: dict[str, Any], counted: bool) -> Text:
    if not counted:
        return _DASH
    if row["never_hit"]:
        return Text("never hit", "dim")
    served = row["served"]
    text = Text(f"{_count(served['native'])} / {_count(served['legacy'])}")
    return text.append(f" / {_count(served['fallback'])}", "red") if served["fallback"] else text


def _count(number: int) -> str:
    return (
        f"{number}" if number < 10_000 else f"{number / 1000:.0f}k" if number < 10_000_000 else f"{number / 1e6:.0f}M"
    )


def _latency(latency: dict[str, float | None]) -> Text:
    if latency["p50"] is None or latency["p99"] is None:
        return _DASH
    return Text(f"{_short(latency['p50'])} / {_short(latency['p99'])}")


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def _parity(row: dict[str, Any]) -> Text:
    if row["parity"] is None:
        return _DASH
    return Text(f"{row['parity']:g}", "green" if row["different"] == 0 else "yellow")


def _print_notes(console: Console, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        if row["tripped"]:
            console.print(Text.assemble(("! ", "red"), (row["route"], "bold"), f" was tripped: {row['tripped']}"))
        for note in row["notes"]:
            console.print(Text.assemble(("! ", "yellow"), (row["route"], "bold"), f": {note}"))


def _foot(coverage: dict[str, Any], counted: bool, running: bool) -> Text:
    routes = f"{coverage['routes']:g} % of routes ({coverage['native_rules']} of {coverage['rules']} rules)"
    traffic = f"{coverage['traffic']:g} % of traffic ({coverage['requests']} requests)" if counted else None
    text = Text.assemble(("coverage: ", "bold"), ", ".join(filter(None, (routes, traffic))))
    if not counted:
        text.append(
            "\nno figures yet: they come with the first requests to a gateway that has this GRAFT_DATA",
            "dim",
        )
    elif not running:
        text.append("\nthe figures are those of a gateway that has ended", "dim")
    return text


def _other(native: NativeRoute) -> dict[str, str]:
    kind = type(native.route).__name__.removesuffix("Route")
    path = getattr(native.route, "path", "") or getattr(native.route, "host", "")
    return {"kind": kind, "path": path, "native": native.name}
