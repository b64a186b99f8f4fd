"""Template filters."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Flask

from legacy_flask import docstrings


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(FILTERS)


def thousands(number: int) -> str:
    """``5312`` -> ``5,312``"""
    return f"{number:,}"


def day(moment: str) -> str:
    """``2019-04-01T09:30:00Z`` -> ``1 April 2019``"""
    when = datetime.fromisoformat(moment)
    return f"{when.day} {when:%B %Y}"


def ago(moment: str, now: datetime | None = None) -> str:
    """``2019-04-01T09:30:00Z`` -> ``3 hours ago``, or the day once a month has passed."""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    if seconds < 60:
        return "just now"
    for unit, length, limit in (("minute", 60, 3600), ("hour", 3600, 86_400), ("day", 86_400, 30 * 86_400)):
        if seconds < limit:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return day(moment)


def size(octets: int) -> str:
    """``34816`` -> ``34 KB``"""
    if octets < 1024:
        return f"{octets} bytes"
    if octets < 1024 * 1024:
        return f"{octets / 1024:.0f} KB"
    return f"{octets / 1024 / 1024:.1f}".removesuffix(".0") + " MB"


FILTERS = {"thousands": thousands, "day": day, "ago": ago, "size": size, "docstring": docstrings.to_html}
