"""Parameters of the query string, read as Flask reads them: the first of several values counts."""

from __future__ import annotations

import re

from starlette.requests import Request


class BadParameter(ValueError):
    """A parameter says what it may not say; the message is for the person who wrote it."""


def text(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    return values[0] if values else None


def number(request: Request, name: str, *, default: int, largest: int) -> int:
    """A whole number from 1 to ``largest``. Raises BadParameter."""
    written = text(request, name)
    if written is None:
        return default
    if not re.fullmatch("[0-9]{1,9}", written) or not 1 <= int(written) <= largest:
        raise BadParameter(f"{name} must be a whole number from 1 to {largest}.")
    return int(written)
