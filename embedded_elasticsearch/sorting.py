"""``sort``: keys of hits as SQL, and as the ``sort`` values that an answer shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedded_elasticsearch.document_parser import convert
from embedded_elasticsearch.errors import EngineError, bad_request, only, parsing, shard_error, unreadable, unsupported
from embedded_elasticsearch.mapping import FLOATS, TYPES, Field
from embedded_elasticsearch.store import Index

_OPTIONS = frozenset({"order", "missing", "unmapped_type", "mode"})


@dataclass(frozen=True)
class Key:
    """One sort criterion. ``path`` may be ``_score`` or ``_doc``."""

    path: str
    descending: bool
    missing: Any = "_last"
    unmapped_type: str | None = None
    mode: str | None = None

    @property
    def missing_first(self) -> bool:
        return bool(self.missing == "_first")


def read(given: Any) -> list[Key]:
    """The criteria of a ``sort`` element; empty when there is none."""
    if given is None:
        return []
    keys = [_key(item) for item in (given if isinstance(given, list) else [given])]
    # The best first is what a search does anyway; asked for alone, Elasticsearch leaves the sort values out.
    return [] if keys == [Key("_score", True)] else keys


def _key(item: Any) -> Key:
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise parsing("[sort] malformed, each entry must be a field name or an object with one field")
    ((path, options),) = item.items()
    if isinstance(options, str):
        options = {"order": options}
    options = only(options, _OPTIONS, "field_sort", unreadable)
    if path.startswith("_") and path not in ("_score", "_doc"):
        raise unsupported(f"[sort] on [{path}]")
    order = str(options.get("order", "desc" if path == "_score" else "asc")).lower()
    if order not in ("asc", "desc"):
        raise bad_request(f"[field_sort] failed to parse field [order]: [{order}] is neither asc nor desc")
    unmapped = options.get("unmapped_type")
    if unmapped is not None and (not isinstance(unmapped, str) or unmapped not in TYPES):
        raise unsupported(f"[sort] [unmapped_type] [{unmapped}]")
    mode = options.get("mode")
    if mode not in (None, "min", "max"):
        raise unsupported(f"[sort] mode [{mode}]")
    return Key(path, order == "desc", options.get("missing", "_last"), unmapped, mode)


def by_score(keys: list[Key]) -> bool:
    """Does anybody read the score?"""
    return not keys or any(key.path == "_score" for key in keys)


def expression(key: Key, index: Index, parameters: list[Any]) -> str:
    """The SQL of this key for one row ``h`` of the matched documents of ``index``."""
    if key.path == "_score":
        return "h.score"
    if key.path == "_doc":
        return "h.doc"
    target = _target(key, index)
    if target is None:
        return "NULL"
    pick = key.mode or ("max" if key.descending else "min")
    parameters.append(index.field_ids[target.path])
    sql = f"(SELECT {pick}(value) FROM {index.values} WHERE field = ? AND doc = h.doc)"
    if key.missing in ("_first", "_last"):
        return sql
    parameters.append(_missing_value(key, target))
    return f"COALESCE({sql}, ?)"


def _target(key: Key, index: Index) -> Field | None:
    target = index.mapping.fields.get(key.path)
    if target is None:
        if key.unmapped_type is not None:
            return None
        raise shard_error(index.name, f"No mapping found for [{key.path}] in order to sort on")
    if target.is_text:
        raise no_field_data(target, index)
    return target


def no_field_data(target: Field, index: Index) -> EngineError:
    """Sorting by, or counting the values of, a field that only has words."""
    return EngineError(
        400,
        "illegal_argument_exception",
        f"Fielddata is disabled on [{target.path}] in [{index.name}]. Text fields are not optimised for operations "
        "that require per-document field data like aggregations and sorting, so these operations are disabled by "
        "default. Please use a keyword field instead.",
        phase="query",
        index=index.name,
    )


def _missing_value(key: Key, target: Field) -> Any:
    try:
        return convert(target, key.missing)
    except ValueError as error:
        raise bad_request(f"[sort] [missing] of [{key.path}] can't be read: {error}") from None


def order_by(keys: list[Key]) -> str:
    """The ORDER BY of columns ``k0``, ``k1`` ...; equal documents keep the order in which they were written."""
    if not keys:
        return "score DESC, idx, doc"
    parts = []
    for number, key in enumerate(keys):
        # Whether a missing value is largest or smallest is said in so many words: NULLS LAST is not in every SQLite.
        parts.append(f"(k{number} IS NULL) {'DESC' if key.missing_first else 'ASC'}")
        parts.append(f"k{number} {'DESC' if key.descending else 'ASC'}")
    return ", ".join([*parts, "idx", "doc"])


def shown(key: Key, index: Index, value: Any) -> Any:
    """A key as the ``sort`` of a hit shows it: numbers have Java's extremes where a value is missing."""
    if value is not None:
        return value
    target = index.mapping.fields.get(key.path)
    kind = target.type if target else key.unmapped_type
    if kind in ("keyword", None):
        return None
    last_is_largest = key.descending == key.missing_first
    if kind in FLOATS:
        return "Infinity" if last_is_largest else "-Infinity"
    bits = 63 if kind in ("long", "date", "boolean") else 31
    return 2**bits - 1 if last_is_largest else -(2**bits)
