"""Aggregations that sort documents into buckets: terms, filter and range; date_histogram.py has the one over time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.document_parser import number
from embedded_elasticsearch.errors import bad_request, kind_of, only, parsing, unreadable, unsupported
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


def mapped_scopes(scopes: list[Scope], options: dict[str, Any], kind: str) -> list[tuple[Scope, Field]]:
    """The scopes whose index has the field."""
    found = [(scope, field_of(scope, options, kind)) for scope in scopes]
    return [(scope, target) for scope, target in found if target is not None]


def narrowed(scope: Scope, target: Field, condition: str, *parameters: Any) -> Scope:
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
    order = read_order(options.get("order", {"_count": "desc"}), "terms")
    targets = mapped_scopes(scopes, options, "terms")
    counts: dict[Any, int] = {}
    for scope, target in targets:
        rows = connection.execute(
            f"SELECT value, count(*) FROM {scope.index.values} WHERE field = ? AND doc IN ({scope.sql}) GROUP BY value",
            (scope.index.field_ids[target.path], *scope.parameters),
        )
        for value, count in rows:
            counts[value] = counts.get(value, 0) + count
    pairs = sorted_pairs([pair for pair in counts.items() if pair[1] >= least], order)
    buckets = []
    for value, count in pairs[:size]:
        entry = {"key": value}
        if targets[0][1].type in ("boolean", "date"):
            entry["key_as_string"] = formatted_value(targets[0][1], value)
        inside = [narrowed(scope, target, "value = ?", value) for scope, target in targets]
        buckets.append(Bucket({**entry, "doc_count": count}, inside))
    others = sum(count for _, count in pairs[size:])
    return Buckets(buckets, {"doc_count_error_upper_bound": 0, "sum_other_doc_count": others})


def _positive(options: dict[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_BUCKETS:
        raise unreadable(f"[{name}] must be greater than 0 and at most {MAX_BUCKETS}. Found [{value}] in [terms]")
    return value


def sorted_pairs(pairs: list[tuple[Any, int]], order: list[tuple[str, bool]]) -> list[tuple[Any, int]]:
    for name, descending in reversed(order):
        pairs = sorted(pairs, key=_ORDERS[name], reverse=descending)
    return pairs


def read_order(given: Any, kind: str) -> list[tuple[str, bool]]:
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
    targets = mapped_scopes(scopes, options, "range")
    for _, target in targets:
        if target.type not in (*INTEGERS, *FLOATS):
            raise unsupported(f"[range] aggregation on the field [{target.path}] of type [{target.type}]")
    bounds = sorted((_bounds(entry) for entry in given), key=lambda bound: bound[:2])
    buckets = []
    for low, high, key in bounds:
        inside = [narrowed(scope, target, "value >= ? AND value < ?", low, high) for scope, target in targets]
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
