"""Aggregations over the matched documents: terms with sub-aggregations, filter, and the single-number metrics."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.errors import bad_request, only, parsing, unreadable, unsupported
from embedded_elasticsearch.mapping import Field
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


def aggregate(connection: sqlite3.Connection, scopes: list[Scope], given: Any) -> dict[str, Any]:
    """The ``aggregations`` of an answer. Raises a 400 that names an aggregation or an option the engine lacks."""
    if not isinstance(given, dict):
        raise parsing("[aggregations] must be an object of named aggregations")
    return {name: _one(connection, scopes, name, body) for name, body in given.items()}


def _one(connection: sqlite3.Connection, scopes: list[Scope], name: str, body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise parsing(f"Expected [START_OBJECT] under [{name}] in the aggregations")
    body = dict(body)
    inner = body.pop("aggs", body.pop("aggregations", None))
    if len(body) != 1:
        raise parsing(f"Found {len(body)} aggregation types in [{name}], exactly one is needed")
    ((kind, options),) = body.items()
    if kind in _METRICS:
        if inner:
            raise bad_request(f"Aggregator [{name}] of type [{kind}] cannot accept sub-aggregations")
        return _metric(connection, scopes, kind, options)
    if kind == "terms":
        return _Terms(connection, scopes, options, inner).answer()
    if kind == "filter":
        return _filter(connection, scopes, options, inner)
    known = ", ".join(["terms", "filter", *_METRICS])
    raise parsing(f"Unknown aggregation type [{kind}] in the embedded search engine, which has {known}")


def _filter(connection: sqlite3.Connection, scopes: list[Scope], query: Any, inner: Any) -> dict[str, Any]:
    kept = []
    for scope in scopes:
        plan = compile_query(connection, scope.index, query, scored=False)
        sql = f"SELECT doc FROM ({scope.sql}) WHERE doc IN (SELECT doc FROM ({plan.sql}))"
        kept.append(Scope(scope.index, sql, (*scope.parameters, *plan.parameters)))
    count = sum(_count(connection, scope) for scope in kept)
    return {"doc_count": count, **(aggregate(connection, kept, inner) if inner else {})}


def _count(connection: sqlite3.Connection, scope: Scope) -> int:
    return int(connection.execute(f"SELECT count(*) FROM ({scope.sql})", scope.parameters).fetchone()[0])


def _field(scope: Scope, options: dict[str, Any], kind: str) -> Field | None:
    path = options.get("field")
    if not isinstance(path, str):
        raise bad_request(f"Required one of fields [field, script], but none were specified in [{kind}]")
    target = scope.index.mapping.fields.get(path)
    if target is None and path.startswith("_"):
        raise unsupported(f"[{kind}] aggregation on the metadata field [{path}]")
    if target is not None and target.is_text:
        raise no_field_data(target, scope.index)
    return target


# Metrics

_METRICS: dict[str, str] = {
    "min": "min(value)",
    "max": "max(value)",
    "sum": "sum(value)",
    "avg": "sum(value)",
    "value_count": "count(value)",
    "cardinality": "count(DISTINCT value)",
}


def _metric(connection: sqlite3.Connection, scopes: list[Scope], kind: str, options: Any) -> dict[str, Any]:
    options = only(options, frozenset({"field"}), kind)
    targets = [(scope, _field(scope, options, kind)) for scope in scopes]
    found = [_measured(connection, scope, target, kind) for scope, target in targets if target is not None]
    if kind == "cardinality":
        return {"value": len({value for values, _ in found for value in values})}
    counts = sum(count for _, count in found)
    if kind == "value_count":
        return {"value": counts}
    numbers = [value for values, _ in found for value in values if value is not None]
    value = _REDUCED[kind](numbers, counts)
    first = next((target for _, target in targets if target is not None), None)
    return {"value": value, **_as_text(first, value)}


_REDUCED: dict[str, Callable[[list[Any], int], float | None]] = {
    "min": lambda numbers, count: float(min(numbers)) if numbers else None,
    "max": lambda numbers, count: float(max(numbers)) if numbers else None,
    "sum": lambda numbers, count: float(sum(numbers)),
    "avg": lambda numbers, count: float(sum(numbers)) / count if count else None,
}


def _as_text(target: Field | None, value: float | None) -> dict[str, str]:
    if target is None or value is None or target.type not in ("date", "boolean"):
        return {}
    return {"value_as_string": _shown(target, value)}


def _shown(target: Field, value: float) -> str:
    if target.type == "boolean":
        return "true" if value else "false"
    return dates.to_slashes(int(value)) if target.format == dates.DYNAMIC_FORMAT else dates.to_text(int(value))


def _measured(connection: sqlite3.Connection, scope: Scope, target: Field, kind: str) -> tuple[list[Any], int]:
    if target.type == "keyword" and kind not in ("value_count", "cardinality"):
        raise bad_request(
            f"Field [{target.path}] of type [keyword] is not supported for aggregation [{kind}]",
            phase="query",
            index=scope.index.name,
        )
    source = f"FROM {scope.index.values} WHERE field = ? AND doc IN ({scope.sql})"
    parameters = (scope.index.field_ids[target.path], *scope.parameters)
    if kind == "cardinality":
        return [row[0] for row in connection.execute(f"SELECT DISTINCT value {source}", parameters)], 0
    value, count = connection.execute(f"SELECT {_METRICS[kind]}, count(value) {source}", parameters).fetchone()
    return [value], count


# Buckets

_ORDERS: dict[str, Callable[[tuple[Any, int]], Any]] = {"_count": lambda pair: pair[1], "_key": lambda pair: pair[0]}
_TERMS = frozenset({"field", "size", "order", "min_doc_count", "missing", "shard_size", "show_term_doc_count_error"})


class _Terms:
    """One terms aggregation: counts per value, largest first, ties by value."""

    def __init__(self, connection: sqlite3.Connection, scopes: list[Scope], options: Any, inner: Any) -> None:
        options = only(options, _TERMS, "terms", unreadable)
        if options.get("show_term_doc_count_error", False) is not False:
            raise unsupported("[terms] with [show_term_doc_count_error]")
        self._connection = connection
        self._inner = inner
        self._size = _positive(options, "size", 10)
        self._least = _positive(options, "min_doc_count", 1)
        self._order = _order(options.get("order", {"_count": "desc"}))
        if "missing" in options:
            raise unsupported("[terms] with [missing]")
        fields = [(scope, _field(scope, options, "terms")) for scope in scopes]
        self._targets = [(scope, target) for scope, target in fields if target is not None]

    def answer(self) -> dict[str, Any]:
        counts = self._counts()
        pairs = [pair for pair in counts.items() if pair[1] >= self._least]
        for name, descending in reversed(self._order):
            pairs.sort(key=_ORDERS[name], reverse=descending)
        shown = pairs[: self._size]
        others = sum(count for _, count in pairs) - sum(count for _, count in shown)
        return {
            "doc_count_error_upper_bound": 0,
            "sum_other_doc_count": others,
            "buckets": [self._bucket(value, count) for value, count in shown],
        }

    def _counts(self) -> dict[Any, int]:
        counts: dict[Any, int] = {}
        for scope, target in self._targets:
            rows = self._connection.execute(
                f"SELECT value, count(*) FROM {scope.index.values} WHERE field = ? AND doc IN ({scope.sql})"
                " GROUP BY value ORDER BY value",
                (scope.index.field_ids[target.path], *scope.parameters),
            )
            for value, count in rows:
                counts[value] = counts.get(value, 0) + count
        return counts

    def _bucket(self, value: Any, count: int) -> dict[str, Any]:
        bucket: dict[str, Any] = {"key": value}
        target = self._targets[0][1]
        if target.type in ("boolean", "date"):
            bucket["key_as_string"] = _shown(target, value)
        bucket["doc_count"] = count
        if self._inner:
            bucket.update(aggregate(self._connection, self._inside(value), self._inner))
        return bucket

    def _inside(self, value: Any) -> list[Scope]:
        return [
            Scope(
                scope.index,
                f"SELECT doc FROM {scope.index.values} WHERE field = ? AND value = ? AND doc IN ({scope.sql})",
                (scope.index.field_ids[target.path], value, *scope.parameters),
            )
            for scope, target in self._targets
        ]


def _positive(options: dict[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_BUCKETS:
        raise unreadable(f"[{name}] must be greater than 0 and at most {MAX_BUCKETS}. Found [{value}] in [terms]")
    return value


def _order(given: Any) -> list[tuple[str, bool]]:
    """(criterion, descending) pairs, the value itself last, so that the order is always the same."""
    pairs = []
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, dict) or len(entry) != 1:
            raise parsing("[terms] [order] must be an object with one criterion, or an array of them")
        ((name, direction),) = entry.items()
        if name not in _ORDERS:
            raise unsupported(f"[terms] order by [{name}], only by _count and _key")
        if direction not in ("asc", "desc"):
            raise parsing(f"Unknown terms order direction [{direction}]")
        pairs.append((name, direction == "desc"))
    return [*pairs, ("_key", False)]
