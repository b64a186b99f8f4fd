"""``graft promote``: the next step up, if the figures allow it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from graft.cli.arguments import ROUTE, as_json, user
from graft.cli.output import SafeConsole
from graft.control.token import admin_token
from graft.figures.client import GatewayFigures
from graft.operations import open_state
from graft.operations.gates import Verdict
from graft.operations.promotion import Baselines, Promotion, Standing, demote, promote
from graft.operations.shift import refuse_if_held
from graft.operations.state import PROMOTION
from graft.settings import Settings
from graft.types import RouteKey

__all__ = ["command"]

_COLOURS = {Verdict.OPEN: "green", Verdict.NOT_YET: "yellow", Verdict.CLOSED: "red"}
_ANYWHERE = ("0.0.0.0", "::", "")


@click.command("promote")
@click.argument("route", type=ROUTE)
@click.option("--watch", is_flag=True, help="Climb by itself as the gates open; go back to share 0 at a closed one.")
@click.option("--every", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--url", help="Where the gateway is. [default: http://HOST:PORT of the environment]")
@as_json
def command(route: RouteKey, watch: bool, every: float, url: str | None, as_json: bool) -> None:
    """Take ROUTE one step up the ladder: mirror 100, then share 1, 10, 50, 100.

    Each step has gates: enough compared requests, parity, native errors and the native p95 against legacy's, all since
    the step before. They are printed with their figures; what they ask for is set per route in switches.toml:
    gates = { compared = 100, parity = 99.5, errors = 1, slower = 1.2 }.

    Ends with 0 when the step was taken (with --watch: when the route is native), 1 when a gate is closed, it is too
    early or a person holds the route, 2 when something is wrong with a setting or the gateway can't be asked.

    \b
      graft promote "GET /api/articles/{id:int}"
      graft promote "GET /api/articles/{id:int}" --watch
    """
    settings = Settings.load()
    state = open_state(settings)
    refuse_if_held(route, state.read().for_route(route))
    promotion = Promotion(
        route,
        state,
        GatewayFigures(url or _url(settings), admin_token(settings)),
        Baselines(settings.data / "promotions.json"),
    )
    if watch:
        raise SystemExit(_watch(promotion, every, as_json))
    raise SystemExit(_step(promotion, _print_json if as_json else _print))


def _url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in _ANYWHERE else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


Show = Callable[[Standing, str], None]


def _step(promotion: Promotion, show: Show) -> int:
    standing = promotion.standing()
    if standing.at_the_top:
        show(standing, "native: share 100")
        return 0
    if standing.verdict is not Verdict.OPEN:
        show(standing, f"stays: {standing.verdict}")
        return 1
    if not promote(promotion.state, standing, by=user()):
        show(standing, "stays: somebody has just changed it")
        return 1
    show(standing, f"climbs: {_step_text(standing)}")
    return 0


def _watch(promotion: Promotion, every: float, as_json: bool) -> int:
    """Until the route is at the top (0), or a gate is closed or a person holds it (1)."""
    if as_json:
        return _climb_all(promotion, every, _print_json)
    with Live(console=SafeConsole(), auto_refresh=False) as live:

        def show(standing: Standing, what: str) -> None:
            live.update(_table(standing, what), refresh=True)
            if what != _WAITING:
                live.console.print(f"{time.strftime('%H:%M:%S')} {standing.key}: {what}", markup=False)

        return _climb_all(promotion, every, show)


_WAITING = "waits"


def _climb_all(promotion: Promotion, every: float, show: Show) -> int:
    while True:
        standing = promotion.standing()
        if standing.switch.hold is not None:
            show(standing, f"stays at share {standing.switch.share:g}: held, {standing.switch.hold}")
            return 1
        if standing.verdict is Verdict.CLOSED:
            return _stop(promotion, standing, show)
        if standing.at_the_top:
            show(standing, "native: share 100")
            return 0
        if standing.verdict is Verdict.OPEN and promote(promotion.state, standing, by=PROMOTION):
            show(standing, f"climbs: {_step_text(standing)}")
        else:
            show(standing, _WAITING)
        time.sleep(every)


def _stop(promotion: Promotion, standing: Standing, show: Show) -> int:
    """At a closed gate: back to share 0, unless the route is there already or somebody has just changed it."""
    closed = ", ".join(gate.name for gate in standing.gates if gate.verdict is Verdict.CLOSED)
    if standing.switch.share == 0:
        show(standing, f"stays at share 0: {closed}")
    elif demote(promotion.state, standing, by=PROMOTION, why=closed):
        show(standing, f"goes back to share 0: {closed}")
    else:
        show(standing, f"ends, as somebody has just changed it: {closed}")
    return 1


def _step_text(standing: Standing) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in (standing.step or {}).items())


def _print(standing: Standing, what: str) -> None:
    SafeConsole().print(_table(standing, what))


def _table(standing: Standing, what: str) -> Table:
    switch = standing.switch
    table = Table(
        title=Text(f"{standing.key}  share {switch.share:g}  mirror {switch.mirror:g}"),
        caption=Text(what),
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("gate", "", "figure", "wanted"):
        table.add_column(heading)
    for gate in standing.gates:
        table.add_row(gate.name, Text(gate.verdict, _COLOURS[gate.verdict]), Text(gate.figure), Text(gate.wanted))
    return table


def _print_json(standing: Standing, what: str) -> None:
    gates = [
        {"gate": gate.name, "verdict": gate.verdict, "figure": gate.figure, "wanted": gate.wanted}
        for gate in standing.gates
    ]
    switch = standing.switch
    line = {"route": str(standing.key), "share": switch.share, "mirror": switch.mirror, "did": what, "gates": gates}
    click.echo(json.dumps(line))
