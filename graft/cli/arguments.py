"""What several commands take: a route, a percentage, ``--json``, ``--force``; and who gives the command."""

from __future__ import annotations

import getpass
import os
from typing import Any

import click

from graft.cli.output import echo
from graft.errors import GraftError, UnknownRoute
from graft.operations.sentences import set_aside
from graft.operations.state import State
from graft.settings import Settings
from graft.types import RouteKey


class RouteType(click.ParamType[RouteKey]):
    """``"GET /path/{id:int}"``."""

    name = "route"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RouteKey:
        if isinstance(value, RouteKey):
            return value
        try:
            return RouteKey.parse(value)
        except ValueError as error:
            self.fail(f"{error} (in quotes: it has a space)", param, ctx)


class PercentType(click.ParamType[float]):
    """A number from 0 to 100."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            percent = float(value)
        except ValueError:
            percent = float("nan")
        if not 0 <= percent <= 100:
            self.fail(f"{value!r} is no number from 0 to 100", param, ctx)
        return percent


ROUTE = RouteType()
PERCENT = PercentType()
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
force = click.option("--force", is_flag=True, help="Without looking whether this app has such a switched route.")


def switched_route(route: RouteKey, settings: Settings, *, force: bool = False) -> RouteKey:
    """``route`` under the name that its entry has: the native route's, where the Flask rule was named.

    Loads the app, as ``graft routes`` does, unless ``force`` is set. Raises UnknownRoute where no such route is
    switched, and GraftError where that can't be found out.
    """
    if force:
        return route
    from graft.control.offline import table_of
    from graft.operations.routes import switched_row

    try:
        table = table_of(settings)
    except GraftError as error:
        raise GraftError(f"The routes of this app can't be read. {error} To do it without looking: --force.") from None
    try:
        return switched_row(table, route).key
    except UnknownRoute as error:
        raise UnknownRoute(f"{error} To set it all the same: --force.") from None


def say_set_aside(state: State, kept: str | None) -> None:
    """Say, beside the output, that the broken switches of ``state`` are at ``kept`` now."""
    if kept is not None:
        echo(set_aside(state.place, kept), err=True)


def user() -> str:
    """Who gives the command, for the history: the login name; behind sudo, who used it."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        name = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    before = os.environ.get("SUDO_USER")
    return f"{before} (sudo)" if before and name == "root" else name
