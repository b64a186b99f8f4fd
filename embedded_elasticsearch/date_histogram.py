"""The date_histogram aggregation: documents per interval of time."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.buckets import (
    MAX_BUCKETS,
    Bucket,
    Buckets,
    Scope,
    formatted_value,
    mapped_scopes,
    narrowed,
    read_order,
    sorted_pairs,
)
from embedded_elasticsearch.errors import EngineError, bad_request, only, unreadable

_DATE_HISTOGRAM = frozenset({"field", "calendar_interval", "fixed_interval", "min_doc_count", "order"})
_MILLIS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MONDAY = 4 * _MILLIS["d"]  # 1970-01-05
_CALENDAR = {
    "minute": "1m", "hour": "1h", "day": "1d", "week": "1w", "month": "1M", "quarter": "1q", "year": "1y"
}  # fmt: skip
_MONTHS = {"1M": 1, "1q": 3, "1y": 12}


@dataclass(frozen=True)
class _Interval:
    """So many milliseconds, counted from ``offset``; or so many months of the calendar."""

    millis: int = 0
    months: int = 0
    offset: int = 0

    @property
    def start(self) -> str:
        """The SQL of the millisecond in which the interval of ``value`` begins."""
        if self.millis:
            since = f"(value - {self.offset})"
            return f"(value - (({since} % {self.millis}) + {self.millis}) % {self.millis})"
        month = "strftime('%m', value / 1000.0, 'unixepoch')"
        back = f"'-' || (({month} - 1) % {self.months}) || ' months'"
        return f"(strftime('%s', value / 1000.0, 'unixepoch', 'start of month', {back}) * 1000)"

    def after(self, start: int) -> int:
        """Where the next one begins."""
        if self.millis:
            return start + self.millis
        moment = datetime.fromtimestamp(start / 1000, UTC)
        year, month = divmod(moment.year * 12 + moment.month - 1 + self.months, 12)
        return dates.to_millis(moment.replace(year=year, month=month + 1))


def date_histogram(connection: sqlite3.Connection, scopes: list[Scope], options: Any) -> Buckets:
    """Documents per interval of time in UTC, by time; empty intervals in between where ``min_doc_count`` is 0."""
    options = only(options, _DATE_HISTOGRAM, "date_histogram", unreadable)
    interval = _interval(options)
    least = options.get("min_doc_count", 0)
    if isinstance(least, bool) or not isinstance(least, int) or least < 0:
        raise unreadable(f"[min_doc_count] must be 0 or more, found [{least}] in [date_histogram]")
    order = read_order(options.get("order", {"_key": "asc"}), "date_histogram")
    targets = mapped_scopes(scopes, options, "date_histogram")
    counts: dict[int, int] = {}
    for scope, target in targets:
        if target.type != "date":
            raise bad_request(
                f"Field [{target.path}] of type [{target.type}] is not supported for aggregation [date_histogram]",
                phase="query",
                index=scope.index.name,
            )
        rows = connection.execute(
            f"SELECT {interval.start} AS start, count(DISTINCT doc) FROM {scope.index.values}"
            f" WHERE field = ? AND doc IN ({scope.sql}) GROUP BY start",
            (scope.index.field_ids[target.path], *scope.parameters),
        )
        for start, count in rows:
            counts[start] = counts.get(start, 0) + count
    if least == 0 and counts:
        counts = _filled(counts, interval)
    buckets = []
    for start, count in sorted_pairs([pair for pair in counts.items() if pair[1] >= least], order):
        inside = [narrowed(scope, target, f"{interval.start} = ?", start) for scope, target in targets]
        entry = {"key_as_string": formatted_value(targets[0][1], start), "key": start, "doc_count": count}
        buckets.append(Bucket(entry, inside))
    return Buckets(buckets)


def _interval(options: dict[str, Any]) -> _Interval:
    calendar, fixed = options.get("calendar_interval"), options.get("fixed_interval")
    if calendar is None and fixed is None:
        raise bad_request("Invalid interval specified, must be non-null", phase="query")
    if calendar is not None and fixed is not None:
        raise unreadable("Cannot use [fixed_interval] with [calendar_interval] in [date_histogram]")
    if fixed is not None:
        match = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)", str(fixed))
        if match is None or int(match[1]) == 0:
            raise unreadable(f"failed to parse setting [date_histogram.fixedInterval] with value [{fixed}]")
        return _Interval(int(match[1]) * _MILLIS[match[2]])
    name = _CALENDAR.get(str(calendar), str(calendar))
    if name == "1w":
        return _Interval(7 * _MILLIS["d"], offset=_MONDAY)
    if name in _MONTHS:
        return _Interval(months=_MONTHS[name])
    if name in _CALENDAR.values():
        return _Interval(_MILLIS[name[1:]])
    raise unreadable(f"The supplied interval [{calendar}] could not be parsed as a calendar interval.")


def _filled(counts: dict[int, int], interval: _Interval) -> dict[int, int]:
    filled: dict[int, int] = {}
    start, last = min(counts), max(counts)
    while start <= last:
        if len(filled) >= MAX_BUCKETS:
            reason = f"Trying to create too many buckets. Must be less than or equal to: [{MAX_BUCKETS}]."
            raise EngineError(400, "too_many_buckets_exception", reason, phase="query")
        filled[start] = counts.get(start, 0)
        start = interval.after(start)
    return filled
