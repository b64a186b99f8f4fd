"""What several commands take: a route, a percentage, ``--json``."""

from __future__ import annotations

import difflib
from typing import Any

import click

from graft.errors import GraftError
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


ROUTE = RouteType()
PERCENT = click.FloatRange(0, 100)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def warn_if_unknown(key: RouteKey, settings: Settings) -> None:
    """Say so, on stderr, when no native route is called ``key``: a typing error makes an entry that nothing follows."""
    from graft.routing.native import discover

    try:
        known = [str(each) for native in discover(settings.native) for each in native.keys]
    except GraftError:  # the native routes can't be read here, and need not be
        return
    if str(key) not in known:
        close = difflib.get_close_matches(str(key), known, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        click.echo(f'warning: {settings.native} has no route "{key}".{hint}', err=True)
