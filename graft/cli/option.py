"""``graft --gateway WHICH``: kept for the command, which looks for that gateway when it needs one."""

from __future__ import annotations

import click

__all__ = ["gateway_option", "named_gateway"]

_KEY = "graft.gateway"


def gateway_option(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.meta[_KEY] = value


def named_gateway() -> str | None:
    context = click.get_current_context(silent=True)
    value: str | None = context.meta.get(_KEY) if context is not None else None
    return value
