"""Dates as Elasticsearch reads and writes them: milliseconds since 1970 in UTC."""

from __future__ import annotations

import calendar
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

DEFAULT_FORMAT = "strict_date_optional_time||epoch_millis"
DYNAMIC_FORMAT = "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis"

_ISO = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?:(?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?)?)?)?"
)
_SLASHES = re.compile(
    r"(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)(?: (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d))?"
)
_EPOCH = re.compile(r"-?\d{1,18}")
_PARSERS: dict[str, tuple[re.Pattern[str], ...]] = {
    DEFAULT_FORMAT: (_ISO, _EPOCH),
    "date_optional_time||epoch_millis": (_ISO, _EPOCH),
    "strict_date_optional_time": (_ISO,),
    "date_optional_time": (_ISO,),
    "epoch_millis": (_EPOCH,),
    DYNAMIC_FORMAT: (_SLASHES, _EPOCH),
}
FORMATS = frozenset(_PARSERS)

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_MATH = re.compile(r"([+-])(\d*)([yMwdhHms])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "H": "hours", "m": "minutes", "s": "seconds"}


def parse(value: Any, date_format: str) -> tuple[int, int]:
    """The first and the last millisecond that this value means: ``"2024-01-15"`` is a day long, a number one instant.

    As in Elasticsearch, a value without a day or a month means the first one.
    Raises ValueError when no pattern of the format reads it.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(_failed(value, date_format))
    if not isinstance(value, str):
        value = str(int(value))
    for pattern in _PARSERS[date_format]:
        match = pattern.fullmatch(value)
        if match is None:
            continue
        if pattern is _EPOCH:
            return int(value), int(value)
        return _span(match.groupdict(), value, date_format)
    raise ValueError(_failed(value, date_format))


def _failed(value: Any, date_format: str) -> str:
    return f"failed to parse date field [{value}] with format [{date_format}]"


def _span(parts: dict[str, str | None], value: str, date_format: str) -> tuple[int, int]:
    try:
        start = datetime(
            int(parts["year"] or 0),
            int(parts["month"] or 1),
            int(parts["day"] or 1),
            int(parts["hour"] or 0),
            int(parts["minute"] or 0),
            int(parts["second"] or 0),
            tzinfo=_zone(parts.get("zone")),
        )
        millis = to_millis(start) + int((parts.get("fraction") or "").ljust(3, "0")[:3])
        return millis, millis + _length(parts) - 1
    except (ValueError, OverflowError):
        raise ValueError(_failed(value, date_format)) from None


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(offset if text[0] == "+" else -offset)


def _length(parts: dict[str, str | None]) -> int:
    """How many milliseconds the value leaves open."""
    if parts.get("fraction"):
        return 1
    for name, length in (("second", 1_000), ("minute", 60_000), ("hour", 3_600_000)):
        if parts.get(name):
            return length
    return 86_400_000


def to_millis(moment: datetime) -> int:
    return (moment - _EPOCH_START) // timedelta(milliseconds=1)


def resolve(value: Any, date_format: str) -> tuple[int, int]:
    """As ``parse``, with date mathematics: ``now``, ``now-1d``, ``2024-01-01||+1M``. Raises ValueError."""
    if not isinstance(value, str) or not (value.startswith("now") or "||" in value):
        return parse(value, date_format)
    if value.startswith("now"):
        millis, rest = time.time_ns() // 1_000_000, value[3:]
    else:
        anchor, _, rest = value.partition("||")
        millis = parse(anchor, date_format)[0]
    if "/" in rest:
        raise ValueError(f"rounding in [{value}] is not supported by the embedded search engine")
    return _shifted(millis, rest, value)


def _shifted(millis: int, expression: str, whole: str) -> tuple[int, int]:
    moment = _EPOCH_START + timedelta(milliseconds=millis)
    position = 0
    try:
        for match in _MATH.finditer(expression):
            if match.start() != position:
                break
            position = match.end()
            moment = _shift(moment, int(match[1] + (match[2] or "1")), match[3])
    except (ValueError, OverflowError):
        position = -1
    if position != len(expression):
        raise ValueError(f"failed to parse date math [{whole}]")
    return to_millis(moment), to_millis(moment)


def _shift(moment: datetime, amount: int, unit: str) -> datetime:
    if unit in _UNITS:
        return moment + timedelta(**{_UNITS[unit]: amount})
    months = moment.year * 12 + moment.month - 1 + (amount * 12 if unit == "y" else amount)
    year, month = divmod(months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def looks_like_date(text: str) -> str | None:
    """The format under which a new field of this value becomes a date by itself; None when it is just text."""
    for date_format in ("strict_date_optional_time", DYNAMIC_FORMAT):
        if _PARSERS[date_format][0].fullmatch(text) is None:
            continue
        try:
            parse(text, date_format)
        except ValueError:
            continue
        return DEFAULT_FORMAT if date_format == "strict_date_optional_time" else DYNAMIC_FORMAT
    return None


def to_text(millis: int) -> str:
    """As it stands in ``key_as_string``: ``2024-01-02T00:00:00.000Z``."""
    moment = _EPOCH_START + timedelta(milliseconds=millis)
    return moment.strftime(f"{moment.year:04d}-%m-%dT%H:%M:%S.") + f"{millis % 1000:03d}Z"


def to_slashes(millis: int) -> str:
    """As it stands in ``key_as_string`` of a field that became a date by ``yyyy/MM/dd``."""
    moment = _EPOCH_START + timedelta(milliseconds=millis)
    return f"{moment.year:04d}" + moment.strftime("/%m/%d %H:%M:%S")
