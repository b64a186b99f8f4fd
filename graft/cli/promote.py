"""``graft promote``: the next step up, if the figures allow it; or a climb, which the gateway makes and this shows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from graft.cli.arguments import ROUTE, as_json, user
from graft.cli.output import SafeConsole, echo
from graft.cli.target import target
from graft.control.token import admin_token
from graft.errors import OperationRefused
from graft.gateways.addresses import local_address
from graft.gateways.client import GatewayAnswered, GatewayClient, GatewayUnreachable
from graft.operations.sentences import duration
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]

PATH = "/_graft/api/promotion"
PATIENCE_SECONDS = 600.0
"""How long a watched climb is waited for whose gateway does not answer."""

_COLOURS = {"open": "green", "not yet": "yellow", "closed": "red"}

Standing = Mapping[str, Any]
"""The JSON of a route's promotion, as the gateway tells it."""

Show = Callable[[Standing, str], None]


@click.command("promote")
@click.argument("route", type=ROUTE)
@click.option("--watch", is_flag=True, help="Have the gateway climb by itself, and show it until it ends.")
@click.option("--stop", is_flag=True, help="End the gateway's climb; the share stays where it is.")
@click.option("--why", help="The reason, for the history.")
@click.option("--every", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--url", help="Where the gateway is. [default: where it says that it listens]")
@as_json
def command(
    route: RouteKey, watch: bool, stop: bool, why: str | None, every: float, url: str | None, as_json: bool
) -> None:
    """Take ROUTE one step up the ladder: mirror 100, then share 1, 10, 50, 100.

    Each step has gates: parity, requests that could not be compared, native errors and native latency against legacy's,
    all since the step before, and a least time. They are printed with their figures; "not yet" is what these can't tell
    so far. To set a share without them: graft shift. What they ask for is set per route in switches.toml
    (docs/promotion.md): ladder = [1, 10, 50, 100],
    gates = { parity = 99.5, errors = 1, slower = 1.2, confidence = 99 }.

    With --watch the gateway climbs by itself, goes back to share 0 at a closed gate, and watches the top for a while.
    The command shows it and may end at any time (Ctrl-C): the climb goes on, through restarts too. Whoever sets the
    share, holds the route or switches its mirror off ends it.

    Ends with 0 when the step was taken (with --watch: when the route is native), 1 when a gate is closed, it is too
    early, a person holds the route or has ended the climb, 2 when something is wrong with a setting or the gateway
    can't be asked.

    \b
      graft promote "GET /api/articles/{id:int}"
      graft promote "GET /api/articles/{id:int}" --watch
      graft promote "GET /api/articles/{id:int}" --stop
    """
    if watch and stop:
        raise click.UsageError("--watch or --stop, not both.")
    meant = target(changes=True) if url is None else None
    settings = meant.settings if meant is not None else Settings.load()
    address = url or (meant.address if meant is not None else None) or local_address(settings.host, settings.port)
    climb = _Gateway(route, GatewayClient(address, admin_token(settings)), why)
    if watch:
        raise SystemExit(_watch(climb, every, as_json))
    show = _print_json if as_json else _print
    if stop:
        standing = climb.ask("stop")
        show(standing, standing["did"])
        raise SystemExit(0)
    standing = climb.ask("step")
    show(standing, _DID[standing["did"]].format(**standing))
    raise SystemExit(0 if standing["did"] in ("promoted", "native") else 1)


_DID = {
    "promoted": "promoted: share {share:g}, mirror {mirror:g}",
    "native": "native: share 100",
    "stays": "stays: {waits}",
    "changed meanwhile": "stays: somebody has just changed it",
}


class _Gateway:
    """The gateway, asked about one route."""

    def __init__(self, route: RouteKey, client: GatewayClient, why: str | None) -> None:
        self._route = str(route)
        self._client = client
        self._why = {} if why is None else {"why": why}

    def ask(self, action: str) -> Standing:
        """Raises GraftError when it can't be asked or refuses, OperationRefused where a person holds the route."""
        body = {"route": self._route, "action": action, "by": user(), **self._why}
        try:
            standing: Standing = self._client.send("POST", PATH, body)
        except GatewayAnswered as error:
            if error.status == 423 and error.reason:
                raise OperationRefused(error.reason) from None
            raise
        return standing

    def standing(self) -> Standing:
        """Raises GraftError likewise."""
        standing: Standing = self._client.get(f"{PATH}?{urlencode({'route': self._route})}")
        return standing


def _watch(gateway: _Gateway, every: float, as_json: bool) -> int:
    """Until the climb has ended: 0 at the top, 1 below it; 130 for Ctrl-C."""
    standing = gateway.ask("start")
    console = SafeConsole()
    try:
        if as_json or not console.is_terminal:
            return _follow(gateway, standing, every, _print_json if as_json else _Lines().show)
        with Live(console=console, auto_refresh=False) as live:
            return _follow(
                gateway, standing, every, lambda standing, what: live.update(_table(standing, what), refresh=True)
            )
    except KeyboardInterrupt:
        echo(f'The climb goes on. To end it: graft promote "{standing["route"]}" --stop', err=True)
        return 130


def _follow(gateway: _Gateway, standing: Standing, every: float, show: Show) -> int:
    answered = time.monotonic()
    while True:
        if standing["climb"] is None:
            outcome, code = _outcome(standing)
            show(standing, outcome)
            return code
        show(standing, f"climbs; {standing['waits']}")
        while True:
            time.sleep(every)
            try:
                standing = gateway.standing()
                answered = time.monotonic()
                break
            except (GatewayUnreachable, GatewayAnswered) as error:
                if isinstance(error, GatewayAnswered) and not _passes(error.status):
                    raise
                silent = time.monotonic() - answered
                if silent > PATIENCE_SECONDS:
                    raise
                show(standing, f"no answer for {silent:.0f} s, asks again; the climb goes on in the gateway: {error}")


def _passes(status: int) -> bool:
    """Whether the gateway, or a proxy before it, may answer otherwise in a moment."""
    return status in (408, 429) or status >= 500


def _outcome(standing: Standing) -> tuple[str, int]:
    """How the climb ended, in words, and the exit code."""
    ended, share = standing["ended"], standing["share"]
    if ended is None or ended["operation"] == "native":
        return (f"native: share {share:g}", 0) if share == 100 else (f"ended at share {share:g}", 1)
    why = f": {ended['why']}" if ended["why"] else ""
    if ended["operation"] == "demote":
        return f"went back to share {share:g}{why}", 1
    if ended["operation"] == "stop":
        return f"ended at share {share:g}, by {ended['by']}{why}", 1
    return f"ended at share {share:g}: {ended['operation']} by {ended['by']}{why}", 1


class _Lines:
    """For what is no terminal: a line whenever the route has moved, or waits for something else."""

    def __init__(self) -> None:
        self._told: object = None

    def show(self, standing: Standing, what: str) -> None:
        news = standing["share"], standing["mirror"], what.partition(" at this traffic")[0].partition(": about")[0]
        if news != self._told:
            self._told = news
            click.echo(f"{time.strftime('%H:%M:%S')} {standing['route']}: share {standing['share']:g}, {what}")


def _print(standing: Standing, what: str) -> None:
    SafeConsole().print(_table(standing, what))


def _table(standing: Standing, what: str) -> RenderableType:
    title = f"{standing['route']}  share {standing['share']:g}  mirror {standing['mirror']:g}  {_here(standing)}"
    table = Table(title=Text(title), title_justify="left")
    for heading in ("gate", "", "figure", "wanted"):
        table.add_column(heading)
    for gate in standing["gates"]:
        verdict = Text(gate["verdict"], _COLOURS.get(gate["verdict"], ""))
        table.add_row(gate["gate"], verdict, Text(gate["figure"]), Text(gate["wanted"]))
    return Group(table, Text(what))


def _here(standing: Standing) -> str:
    """How long it stands where it does, which is how long it is counted for."""
    return f"counted for {duration(standing['seconds'])}" if standing["seconds"] else "counted from now on"


def _print_json(standing: Standing, what: str) -> None:
    click.echo(json.dumps({**standing, "did": what}))
