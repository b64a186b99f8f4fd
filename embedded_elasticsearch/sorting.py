"""``sort``: keys of hits as SQL, and as the ``sort`` values that an answer shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedded_elasticsearch.document_parser import convert
from embedded_elasticsearch.errors import EngineError, bad_request, only, parsing, shard_error, unreadable, unsupported
from embedded_elasticsearch.mapping import FLOATS, TYPES, Field
from embedded_elasticsearch.store import Index

_OPTIONS = frozenset({"order", "missing", "unmapped_type"})


@dataclass(frozen=True)
class Key:
    """One sort criterion. ``path`` may be ``_score`` or ``_doc``."""

    path: str
    descending: bool
    missing_first: bool = False
    unmapped_type: str | None = None


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
    missing = options.get("missing", "_last")
    if missing not in ("_first", "_last"):
        raise unsupported(f"[sort] [missing] [{missing}], only _first and _last")
    return Key(path, order == "desc", missing == "_first", unmapped)


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
    pick = "max" if key.descending else "min"
    parameters.append(index.field_ids[target.path])
    return f"(SELECT {pick}(value) FROM {index.values} WHERE field = ? AND doc = h.doc)"


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


def after(keys: list[Key], indices: list[Index], values: list[Any], parameters: list[Any]) -> str:
    """The condition on the columns ``k0``, ``k1`` ... of hits that come after one with these sort values."""
    same: list[tuple[str, Any]] = []
    behind: list[tuple[list[tuple[str, Any]], str, Any]] = []
    for number, (key, value) in enumerate(zip(keys, values, strict=True)):
        exact = _exact(key, indices, value)
        equal, beyond = _compared(f"k{number}", key, exact)
        behind.append((list(same), beyond, exact))
        same.append((equal, exact))
    arms = []
    for earlier, beyond, exact in behind:
        arms.append(" AND ".join([*(equal for equal, _ in earlier), beyond]))
        parameters += [value for _, value in earlier if value is not None]
        parameters += [exact] if "?" in beyond else []
    return " OR ".join(f"({arm})" for arm in arms)


def _compared(column: str, key: Key, value: Any) -> tuple[str, str]:
    """Conditions for the same value, and for one that comes later."""
    if value is None:
        return f"{column} IS NULL", f"{column} IS NOT NULL" if key.missing_first else "0"
    later = f"{column} {'<' if key.descending else '>'} ?"
    return f"{column} = ?", later if key.missing_first else f"({later} OR {column} IS NULL)"


def _exact(key: Key, indices: list[Index], value: Any) -> Any:
    """A sort value as the column has it; None for a document that has none."""
    found = [index.mapping.fields[key.path] for index in indices if key.path in index.mapping.fields]
    if value is None or (indices and key.path[0] != "_" and value == sort_value(key, indices[0], None)):
        return None
    try:
        if found and not (found[0].type == "boolean" and value in (0, 1)):
            return convert(found[0], value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        raise ValueError(f"[{value}] is no number")
    except ValueError as error:
        raise bad_request(
            f"Failed to parse search_after value for field [{key.path}]: {error}", phase="query"
        ) from None


def sort_value(key: Key, index: Index, value: Any) -> Any:
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
