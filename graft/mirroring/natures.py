"""Natures: of what kind a difference of two values is. Noise is a matter of kind, and not of place alone.

A time that both sides made just now, a random token, a number that moves: these may be noise. A null in place of a
number, another type, another format or another text at the same place are differences of another kind, and what was
learned about the first says nothing about them. Pure functions, any thread.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from graft.mirroring.alike import alike_until
from graft.mirroring.drawn import are_drawn


class Kind(StrEnum):
    TOKEN = "token"
    """both are random texts of the same shape"""
    TIME = "time"
    """both are times in the same format"""
    NUMBER = "number"
    """both are numbers, or texts that differ in numbers alone"""
    ORDER = "order"
    """the same items in another order"""
    LENGTH = "length"
    TEXT = "text"
    FORMAT = "format"
    """the same value, written otherwise: case, white space, precision, time zone, encoding"""
    TYPE = "type"
    NULL = "null"
    ABSENT = "absent"
    STATUS = "status"


HARD = frozenset({Kind.FORMAT, Kind.TYPE, Kind.NULL, Kind.ABSENT, Kind.STATUS})
"""What is hardly ever noise."""


@dataclass(frozen=True, slots=True)
class Nature:
    kind: Kind
    amount: float = 0.0
    """how far apart two numbers are, or two times in seconds"""
    times: tuple[float, float] | None = None
    """of the native and of the legacy side, in seconds since 1970"""
    values: tuple[float, float] | None = None
    """of the native and of the legacy side, as numbers"""
    local: bool = False
    """the times name no zone: they may be of any"""
    meant: bool = False
    """of an order: the legacy side's is sorted, or the native side's is like it: it is no chance"""
    drawn: bool = False
    """of an order of rows: it looks like chance"""
    atom: int = 0
    """which part of a text it is: a time in it and a number in it are two things"""


OTHER_TEXT = Nature(Kind.TEXT)

_LONGEST = 2000
_ATOM = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d{1,2}[./]\d{1,2}[./]\d{4},? \d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
    r"|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)"
    r"|(?P<token>[\w+=~-]{12,}+(?:\.[\w-]{6,}+){0,3})"
    r"|(?P<number>\d{1,18}(?:\.\d{1,18})?)"
    r"|(?P<word>[^\W\d]+)|(?P<other>.)",
    re.DOTALL,
)
_DIGITS = re.compile(r"\d")
_SECONDS = (1e9, 4e9)


def natures_of(native: Any, legacy: Any) -> tuple[Nature, ...]:
    """Of what kind the difference between two values of JSON is; of two texts, each part that differs has its own."""
    if isinstance(native, str) and isinstance(legacy, str):
        return _of_texts(native, legacy) or (OTHER_TEXT,)
    return (nature_of(native, legacy),)


def nature_of(native: Any, legacy: Any) -> Nature:
    """Of what kind the difference is; of two texts, its first part."""
    if native is None or legacy is None:
        return Nature(Kind.NULL)
    if isinstance(native, bool) or isinstance(legacy, bool):
        return Nature(Kind.TEXT if type(native) is type(legacy) else Kind.TYPE)
    if isinstance(native, int | float) and isinstance(legacy, int | float):
        return _of_numbers(native, legacy)
    if isinstance(native, str) and isinstance(legacy, str):
        return natures_of(native, legacy)[0]
    return Nature(Kind.TYPE)


def _of_numbers(native: float, legacy: float) -> Nature:
    try:
        here, there = float(native), float(legacy)
    except OverflowError:  # an integer beyond every float
        return Nature(Kind.NUMBER, math.inf)
    amount = abs(here - there)
    if here.is_integer() is not there.is_integer() and amount < 1 and round(here) == round(there):
        return Nature(Kind.FORMAT)  # rounded to an integer
    return Nature(Kind.NUMBER, amount, _instants(native, legacy), (here, there))


def _instants(native: float, legacy: float) -> tuple[float, float] | None:
    """Two numbers as times, if both may be: seconds, milliseconds or microseconds since 1970."""
    for unit in (1.0, 1e3, 1e6):
        low, high = _SECONDS[0] * unit, _SECONDS[1] * unit
        if low < native < high and low < legacy < high:
            return float(native) / unit, float(legacy) / unit
    return None


def _of_texts(native: str, legacy: str) -> tuple[Nature, ...]:
    here, there = _middle(native, legacy)
    if len(here) > _LONGEST or len(there) > _LONGEST:
        return (OTHER_TEXT,)
    if _plain(here) == _plain(there):  # and so are the texts: what is around is the same
        return (Nature(Kind.FORMAT),)
    if are_drawn(here, there):
        return (Nature(Kind.TOKEN),)
    ours, theirs = list(_ATOM.finditer(here)), list(_ATOM.finditer(there))
    if len(ours) != len(theirs) or [atom.lastgroup for atom in ours] != [atom.lastgroup for atom in theirs]:
        return (_of_whole(here, there),)
    found = []
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a[0] != b[0]:
            found.append(replace(_of_atoms(a.lastgroup or "", a[0], b[0]), atom=index if len(ours) > 1 else 0))
    texts = [nature for nature in found if nature.kind is Kind.TEXT]
    return (OTHER_TEXT,) if texts or len(found) > _MOST_ATOMS else tuple(found)


_MOST_ATOMS = 20


def _of_whole(native: str, legacy: str) -> Nature:
    times = _time(native), _time(legacy)
    return Nature(Kind.TEXT if None in times else Kind.FORMAT)


def _of_atoms(group: str, native: str, legacy: str) -> Nature:
    if group == "time":
        here, there = _time(native), _time(legacy)
        written = native[:1].isdigit() and _DIGITS.sub("0", native) != _DIGITS.sub("0", legacy)
        if written or here is None or there is None:
            return Nature(Kind.FORMAT)
        return Nature(Kind.TIME, abs(here - there), (here, there), local=_names_no_zone(native))
    if group == "number":
        decimals = {_decimals(native), _decimals(legacy)}
        if float(native) == float(legacy) or (len(decimals) == 2 and 0 in decimals):
            return Nature(Kind.FORMAT)
        return _of_written_numbers(float(native), float(legacy))
    if group == "token":
        if native.isdigit() and legacy.isdigit() and abs(len(native) - len(legacy)) <= 3:
            return _of_written_numbers(float(native), float(legacy))
        if are_drawn(native, legacy):
            return Nature(Kind.TOKEN)
    return Nature(Kind.TEXT)


def _of_written_numbers(native: float, legacy: float) -> Nature:
    return Nature(Kind.NUMBER, abs(native - legacy), _instants(native, legacy), (native, legacy))


def _middle(native: str, legacy: str) -> tuple[str, str]:
    """Both without what they begin and end with alike, cut at spaces, so that a time or a token stays whole."""
    if len(native) < 200 and len(legacy) < 200:
        return native, legacy
    start = alike_until(native, legacy)
    most = min(len(native), len(legacy)) - start
    end = alike_until(native[: -most - 1 : -1], legacy[: -most - 1 : -1]) if most else 0
    # What is longer than _LONGEST is not looked into: no need to look for a space further away than that.
    nearest = max(0, start - _LONGEST - 1)
    while start > nearest and not native[start - 1].isspace():
        start -= 1
    nearest = max(0, end - _LONGEST - 1)
    while end > nearest and not native[-end].isspace():
        end -= 1
    return native[start : len(native) - end], legacy[start : len(legacy) - end]


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


_ZONE = re.compile(r"(?:Z|GMT|[+-]\d\d:?\d\d)$")


def _names_no_zone(text: str) -> bool:
    return _ZONE.search(text.strip()) is None


_DAY_FIRST = re.compile(r"(\d{1,2})([./])(\d{1,2})[./](\d{4}),? (.*)")


def _time(text: str) -> float | None:
    text = text.strip()
    if not 15 <= len(text) <= 40 or not text[:1].isalnum():
        return None
    written = _DAY_FIRST.fullmatch(text)
    if written is not None:
        first, mark, second, year, clock = written.groups()
        if mark == "/" and int(first) <= 12:  # as Americans write it
            first, second = second, first
        text = f"{year}-{int(second):02}-{int(first):02} {clock}"
    try:
        moment = datetime.fromisoformat(text.replace(",", ".")) if text[0].isdigit() else parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
