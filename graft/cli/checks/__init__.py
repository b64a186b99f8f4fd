"""What ``graft doctor`` checks: each check is a function that yields findings, each finding says what to mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from graft.errors import GraftError, SettingError


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line. ``mend`` is what to do about it, empty when it is fine."""

    status: Status
    name: str
    message: str
    mend: str = ""


def ok(name: str, message: str) -> Finding:
    return Finding(Status.OK, name, message)


def warning(name: str, message: str, mend: str) -> Finding:
    return Finding(Status.WARNING, name, message, mend)


def error(name: str, message: str, mend: str) -> Finding:
    return Finding(Status.ERROR, name, message, mend)


def of_error(name: str, raised: GraftError) -> Finding:
    """The finding that a GraftError is."""
    if isinstance(raised, SettingError):
        return error(name, f"{raised.setting}: {raised.found}", raised.mend)
    return error(name, str(raised), "")


Findings = Iterator[Finding]
