"""Aggregations that sort documents into buckets: terms, filter, range and date_histogram."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.document_parser import number
from embedded_elasticsearch.errors import EngineError, bad_request, kind_of, only, parsing, unreadable, unsupported
from embedded_elasticsearch.mapping import FLOATS, INTEGERS, Field
from embedded_elasticsearch.query import compile_query
from embedded_elasticsearch.sorting import no_field_data
from embedded_elasticsearch.store import Index

MAX_BUCKETS = 65_536  # search.max_buckets


@dataclass(frozen=True)
class Scope:
    """The documents of one index that an aggregation counts: SQL with one column ``doc``."""

    index: Index
    sql: str
    parameters: tuple[Any, ...] = ()


def matched(index: Index) -> Scope:
    """What the query matched, before any post_filter."""
    return Scope(index, f"SELECT doc FROM temp.matched WHERE idx = {index.id}")


@dataclass(frozen=True)
class Bucket:
    """One bucket as the answer shows it, and its documents for the aggregations inside it."""

    entry: dict[str, Any]
    scopes: list[Scope]


@dataclass(frozen=True)
class Buckets:
    """All buckets of one aggregation, and what its answer says beside them."""

    buckets: list[Bucket]
    answer: dict[str, Any] = field(default_factory=dict)


def field_of(scope: Scope, options: dict[str, Any], kind: str) -> Field | None:
    path = options.get("field")
    if not isinstance(path, str):
        raise bad_request(f"Required one of fields [field, script], but none were specified in [{kind}]")
    target = scope.index.mapping.fields.get(path)
    if target is None and path.startswith("_"):
        raise unsupported(f"[{kind}] aggregation on the metadata field [{path}]")
    if target is not None and target.is_text:
        raise no_field_data(target, scope.index)
    return target


def formatted_value(target: Field, value: float) -> str:
    if target.type == "boolean":
        return "true" if value else "false"
    return dates.to_slashes(int(value)) if target.format == dates.DYNAMIC_FORMAT else dates.to_text(int(value))


def _mapped(scopes: list[Scope], options: dict[str, Any], kind: str) -> list[tuple[Scope, Field]]:
    """The scopes whose index has the field."""
    found = [(scope, field_of(scope, options, kind)) for scope in scopes]
    return [(scope, target) for scope, target in found if target is not None]


def _narrowed(scope: Scope, target: Field, condition: str, *parameters: Any) -> Scope:
    """The documents of ``scope`` with a value of the field for which the condition holds."""
    sql = f"SELECT DISTINCT doc FROM {scope.index.values} WHERE field = ? AND {condition} AND doc IN ({scope.sql})"
    return Scope(scope.index, sql, (scope.index.field_ids[target.path], *parameters, *scope.parameters))


def _count(connection: sqlite3.Connection, scope: Scope) -> int:
    return int(connection.execute(f"SELECT count(*) FROM ({scope.sql})", scope.parameters).fetchone()[0])


def filter_bucket(connection: sqlite3.Connection, scopes: list[Scope], query: Any) -> Buckets:
    kept = []
    for scope in scopes:
        plan = compile_query(connection, scope.index, query, scored=False)
        sql = f"SELECT doc FROM ({scope.sql}) WHERE doc IN (SELECT doc FROM ({plan.sql}))"
        kept.append(Scope(scope.index, sql, (*scope.parameters, *plan.parameters)))
    return Buckets([Bucket({"doc_count": sum(_count(connection, scope) for scope in kept)}, kept)])


# Terms

_ORDERS: dict[str, Callable[[tuple[Any, int]], Any]] = {"_count": lambda pair: pair[1], "_key": lambda pair: pair[0]}
_TERMS = frozenset({"field", "size", "order", "min_doc_count"})


def terms(connection: sqlite3.Connection, scopes: list[Scope], options: Any) -> Buckets:
    """Counts per value, largest first, ties by value."""
    options = only(options, _TERMS, "terms", unreadable)
    size, least = _positive(options, "size", 10), _positive(options, "min_doc_count", 1)
    order = _order(options.get("order", {"_count": "desc"}), "terms")
    targets = _mapped(scopes, options, "terms")
    counts: dict[Any, int] = {}
    for scope, target in targets:
        rows = connection.execute(
            f"SELECT value, count(*) FROM {scope.index.values} WHERE field = ? AND doc IN ({scope.sql}) GROUP BY value",
            (scope.index.field_ids[target.path], *scope.parameters),
        )
        for value, count in rows:
            counts[value] = counts.get(value, 0) + count
    pairs = _sorted([pair for pair in counts.items() if pair[1] >= least], order)
    buckets = []
    for value, count in pairs[:size]:
        entry = {"key": value}
        if targets[0][1].type in ("boolean", "date"):
            entry["key_as_string"] = formatted_value(targets[0][1], value)
        inside = [_narrowed(scope, target, "value = ?", value) for scope, target in targets]
        buckets.append(Bucket({**entry, "doc_count": count}, inside))
    others = sum(count for _, count in pairs[size:])
    return Buckets(buckets, {"doc_count_error_upper_bound": 0, "sum_other_doc_count": others})


def _positive(options: dict[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_BUCKETS:
        raise unreadable(f"[{name}] must be greater than 0 and at most {MAX_BUCKETS}. Found [{value}] in [terms]")
    return value


def _sorted(pairs: list[tuple[Any, int]], order: list[tuple[str, bool]]) -> list[tuple[Any, int]]:
    for name, descending in reversed(order):
        pairs = sorted(pairs, key=_ORDERS[name], reverse=descending)
    return pairs


def _order(given: Any, kind: str) -> list[tuple[str, bool]]:
    """(criterion, descending) pairs, the value itself last, so that the order is always the same."""
    pairs = []
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, dict) or len(entry) != 1:
            raise parsing(f"[{kind}] [order] must be an object with one criterion, or an array of them")
        ((name, direction),) = entry.items()
        if name not in _ORDERS:
            raise unsupported(f"[{kind}] order by [{name}], only by _count and _key")
        if direction not in ("asc", "desc"):
            raise parsing(f"Unknown {kind} order direction [{direction}]")
        pairs.append((name, direction == "desc"))
    return [*pairs, ("_key", False)]


# Ranges of numbers

_BOUNDS = frozenset({"from", "to", "key"})


def ranges(connection: sqlite3.Connection, scopes: list[Scope], options: Any) -> Buckets:
    """Documents with a number from ``from`` to below ``to``, a bucket for each range, by their bounds."""
    options = only(options, frozenset({"field", "ranges"}), "range", unreadable)
    given = options.get("ranges")
    if not isinstance(given, list) or not given:
        raise bad_request("No [ranges] specified for the [range] aggregation", phase="query")
    targets = _mapped(scopes, options, "range")
    for _, target in targets:
        if target.type not in (*INTEGERS, *FLOATS):
            raise unsupported(f"[range] aggregation on the field [{target.path}] of type [{target.type}]")
    bounds = sorted((_bounds(entry) for entry in given), key=lambda bound: bound[:2])
    buckets = []
    for low, high, key in bounds:
        inside = [_narrowed(scope, target, "value >= ? AND value < ?", low, high) for scope, target in targets]
        entry: dict[str, Any] = {"key": key}
        entry |= {name: value for name, value in (("from", low), ("to", high)) if abs(value) != float("inf")}
        buckets.append(Bucket({**entry, "doc_count": sum(_count(connection, scope) for scope in inside)}, inside))
    return Buckets(buckets)


def _bounds(entry: Any) -> tuple[float, float, str]:
    options = only(entry, _BOUNDS, "range", unreadable)
    low, high = (_bound(options, name, open_end) for name, open_end in (("from", "-inf"), ("to", "inf")))
    return low, high, str(options.get("key", f"{_java(low)}-{_java(high)}"))


def _bound(options: dict[str, Any], name: str, open_end: str) -> float:
    if options.get(name) is None:
        return float(open_end)
    try:
        return float(number(options[name]))
    except (ValueError, OverflowError):
        raise parsing(f"[range] [{name}] must be a number, found {kind_of(options[name])}") from None


def _java(value: float) -> str:
    """A number as Java writes a double: ``100.0``, ``1.0E7``; ``*`` for an open end."""
    if abs(value) == float("inf"):
        return "*"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, _ = (exact := Decimal(repr(value)).normalize()).as_tuple()
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{rest}E{exact.adjusted()}"


# Intervals of time

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
    order = _order(options.get("order", {"_key": "asc"}), "date_histogram")
    targets = _mapped(scopes, options, "date_histogram")
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
    for start, count in _sorted([pair for pair in counts.items() if pair[1] >= least], order):
        inside = [_narrowed(scope, target, f"{interval.start} = ?", start) for scope, target in targets]
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


KINDS: dict[str, Callable[[sqlite3.Connection, list[Scope], Any], Buckets]] = {
    "terms": terms,
    "range": ranges,
    "date_histogram": date_histogram,
}
