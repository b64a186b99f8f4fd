"""What a document puts into the fields of its index, and which fields it adds to the mapping."""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.errors import EngineError, bad_request
from embedded_elasticsearch.mapping import FLOATS, INTEGERS, Field, Leaf, Mapping, Node, compile_mapping

Value = str | int | float
MAX_KEYWORD = 32766  # bytes: Lucene refuses longer terms


@dataclass
class Parsed:
    """The values of one document: exact ones per field, texts per text field, and the fields that were left out."""

    values: dict[str, list[Value]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)


def parse(mapping: Mapping, source: dict[str, Any], doc_id: str) -> tuple[Mapping, Parsed]:
    """Read ``source`` along ``mapping``: the mapping that it needs (the same object if nothing is new), and its values.

    Raises the 400 that Elasticsearch gives when a value does not fit its field.
    """
    added: dict[str, dict[str, Any]] = {}
    _discover(mapping.root, source, added)
    if added:
        mapping = _extended(mapping, added)
    parsed = Parsed()
    _Reader(doc_id, parsed).read(mapping.root, source)
    return mapping, parsed


# Fields that the mapping does not have yet


def _discover(node: Node, value: dict[str, Any], added: dict[str, dict[str, Any]]) -> None:
    if not node.enabled:
        return
    for path, name, item in _entries(node, value):
        child = node.children.get(name)
        if isinstance(child, Node):
            for inner in _objects_in(item):
                _discover(child, inner, added)
        elif child is None:
            _discover_new(node, path, item, added)


def _entries(node: Node, value: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The items of an object as (full path, name, value): a name with dots is so many objects inside each other."""
    for name, item in value.items():
        head, _, rest = name.partition(".")
        if not head.strip() or (rest and not all(part.strip() for part in rest.split("."))) or name.endswith("."):
            reason = f"field name cannot be an empty string or contain only whitespace: ['{name}']"
            raise _failed("failed to parse: " + reason, reason)
        yield (f"{node.path}.{head}" if node.path else head), head, ({rest: item} if rest else item)


def _discover_new(node: Node, path: str, item: Any, added: dict[str, dict[str, Any]]) -> None:
    for value in _flattened(item):
        if value is None or node.dynamic is False:
            continue
        if node.dynamic == "strict":
            raise EngineError(
                400,
                "strict_dynamic_mapping_exception",
                f"mapping set to strict, dynamic introduction of [{path.rpartition('.')[2]}] "
                f"within [{node.path or '_doc'}] is not allowed",
            )
        definition = _definition(value)
        known = added.setdefault(path, definition)
        if known != definition:
            raise bad_request(
                f"mapper [{path}] cannot be changed from type [{known['type']}] to [{definition['type']}]"
            )
        if isinstance(value, dict):
            _discover(Node(path, node.dynamic), value, added)


def _definition(value: Any) -> dict[str, Any]:
    """How Elasticsearch maps a field that it meets for the first time."""
    if isinstance(value, dict):
        return {"type": "object"}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "long"}
    if isinstance(value, float):
        return {"type": "float"}
    found = dates.looks_like_date(value)
    if found == dates.DYNAMIC_FORMAT:
        return {"type": "date", "format": found, "locale": ""}
    if found is not None:
        return {"type": "date"}
    return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


def _extended(mapping: Mapping, added: dict[str, dict[str, Any]]) -> Mapping:
    extended = copy.deepcopy(mapping.json)
    for path, definition in sorted(added.items()):
        *parents, name = path.split(".")
        place = extended
        for parent in parents:
            place = place["properties"][parent]
        place.setdefault("properties", {})[name] = definition
    return compile_mapping(extended)


# Values


class _Reader:
    """Reads one document's values into ``parsed``."""

    def __init__(self, doc_id: str, parsed: Parsed) -> None:
        self._doc_id = doc_id
        self._parsed = parsed

    def read(self, node: Node, value: dict[str, Any]) -> None:
        if not node.enabled:
            return
        for path, name, item in _entries(node, value):
            child = node.children.get(name)
            if isinstance(child, Leaf):
                self._read_leaf(child, item)
            elif isinstance(child, Node):
                self._read_objects(child, item, path)

    def _read_objects(self, node: Node, item: Any, path: str) -> None:
        if not node.enabled:
            return
        for inner in _flattened(item):
            if isinstance(inner, dict):
                self.read(node, inner)
            elif inner is not None:
                raise _failed(f"object mapping for [{path}] tried to parse field [{path}] as object, but found a value")

    def _read_leaf(self, leaf: Leaf, item: Any) -> None:
        for value in _flattened(item):
            if value is None:
                continue
            for target in (leaf.field, *leaf.multi):
                self._read_value(target, value)

    def _read_value(self, target: Field, value: Any) -> None:
        try:
            converted = convert(target, value)
        except ValueError as error:
            raise _failed(
                f"failed to parse field [{target.path}] of type [{target.type}] in document with id "
                f"'{self._doc_id}'. Preview of field's value: '{_preview(value)}'",
                str(error),
            ) from None
        if target.is_text:
            if target.index:
                self._parsed.texts.setdefault(target.path, []).append(str(converted))
        elif target.ignore_above is not None and len(str(converted)) > target.ignore_above:
            self._parsed.ignored.add(target.path)
        else:
            self._parsed.values.setdefault(target.path, []).append(converted)


def convert(target: Field, value: Any) -> Value:
    """``value`` as this field stores it: milliseconds for dates, 0 and 1 for booleans. Raises ValueError."""
    if isinstance(value, (dict, list)):
        raise ValueError("Expected a value but found START_OBJECT")
    if target.type in INTEGERS:
        return _integer(value, target.type)
    if target.type in FLOATS:
        return _float(value, target.type)
    if target.type == "boolean":
        return _boolean(value)
    if target.type == "date":
        return dates.parse(value, target.format)[0]
    text = printable(value)
    if target.type == "keyword" and len(text) > MAX_KEYWORD // 4 and len(text.encode()) > MAX_KEYWORD:
        limit = target.ignore_above
        if limit is None or len(text) <= limit:
            raise ValueError(f"Document contains at least one immense term (longer than {MAX_KEYWORD} bytes)")
    return text


def printable(value: Any) -> str:
    """A value as text; halves of surrogate pairs, which are no text in UTF-8, become question marks."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else _digits(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _digits(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        raise ValueError("the number has too many digits") from None


def _integer(value: Any, kind: str) -> int:
    whole = math.trunc(number(value))
    limit = 1 << (INTEGERS[kind] - 1)
    if not -limit <= whole < limit:
        raise ValueError(f"Numeric value ({_preview(value)}) out of range of {kind} ({-limit} - {limit - 1})")
    return whole


def _float(value: Any, kind: str) -> float:
    exact = float(number(value))
    if kind == "double":
        return exact
    try:
        single: float = struct.unpack("f", struct.pack("f", exact))[0]
    except OverflowError:
        raise ValueError("[float] supports only finite values, but got [Infinity]") from None
    return single


def number(value: Any) -> int | float:
    """A number, or text that is one; exact, however large. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f'For input string: "{"true" if value else "false"}"')
    try:
        found = value if isinstance(value, (int, float)) else _number_in(value)
        finite = math.isfinite(found)
    except (ValueError, OverflowError):  # no number, or one of hundreds of digits
        raise ValueError(f'For input string: "{_preview(value)}"') from None
    if not finite:
        raise ValueError(f"supports only finite values, but got [{found}]")
    return found


def _number_in(text: str) -> int | float:
    if "_" in text or not text.isascii():
        raise ValueError("no number")
    try:
        return int(text)
    except ValueError:
        return float(text)


def _boolean(value: Any) -> int:
    if value is True or value == "true":
        return 1
    if value is False or value in ("false", ""):
        return 0
    raise ValueError(f"Failed to parse value [{_preview(value)}] as only [true] or [false] are allowed.")


def _preview(value: Any) -> str:
    return printable(value)[:100]


def _flattened(item: Any) -> Iterator[Any]:
    if isinstance(item, list):
        for inner in item:
            yield from _flattened(inner)
    else:
        yield item


def _objects_in(item: Any) -> Iterator[dict[str, Any]]:
    return (inner for inner in _flattened(item) if isinstance(inner, dict))


def _failed(reason: str, cause: str | None = None) -> EngineError:
    details: dict[str, Any] = {}
    if cause:
        details["caused_by"] = {"type": "illegal_argument_exception", "reason": cause}
    return EngineError(400, "document_parsing_exception", reason, **details)
