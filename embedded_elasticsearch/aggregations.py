"""Aggregations over the matched documents: the single-number metrics, and buckets with aggregations inside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from embedded_elasticsearch.buckets import (
    Bucket,
    Buckets,
    Scope,
    field_of,
    filter_bucket,
    formatted_value,
    ranges,
    terms,
)
from embedded_elasticsearch.date_histogram import date_histogram
from embedded_elasticsearch.errors import bad_request, only, parsing
from embedded_elasticsearch.mapping import Field


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
    if kind == "filter":
        (bucket,) = filter_bucket(connection, scopes, options).buckets
        return _with_inner(connection, bucket, inner)
    if kind in _BUCKETS:
        found = _BUCKETS[kind](connection, scopes, options)
        return {**found.answer, "buckets": [_with_inner(connection, bucket, inner) for bucket in found.buckets]}
    known = ", ".join([*_BUCKETS, "filter", *_METRICS])
    raise parsing(f"Unknown aggregation type [{kind}] in the embedded search engine, which has {known}")


def _with_inner(connection: sqlite3.Connection, bucket: Bucket, inner: Any) -> dict[str, Any]:
    return {**bucket.entry, **(aggregate(connection, bucket.scopes, inner) if inner else {})}


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
    targets = [(scope, field_of(scope, options, kind)) for scope in scopes]
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
    return {"value_as_string": formatted_value(target, value)}


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


_BUCKETS: dict[str, Callable[[sqlite3.Connection, list[Scope], Any], Buckets]] = {
    "terms": terms,
    "range": ranges,
    "date_histogram": date_histogram,
}
