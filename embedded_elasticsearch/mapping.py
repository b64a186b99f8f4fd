"""Mappings: which fields an index has, and what a document puts into them.

A mapping is kept as the JSON that Elasticsearch would show. ``Mapping`` is its compiled form: fields by their full
path (``title``, ``title.keyword``, ``author.name``) and the tree that documents are read along.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from embedded_elasticsearch import analysis, dates
from embedded_elasticsearch.errors import EngineError, bad_request, kind_of, unsupported

MAX_FIELDS = 1000  # index.mapping.total_fields.limit
MAX_DEPTH = 20  # index.mapping.depth.limit
INTEGERS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
FLOATS = frozenset({"float", "double"})
DYNAMIC: dict[str, bool | str] = {"true": True, "false": False, "strict": "strict"}

_COMMON = {"type"}
_PARAMETERS: dict[str, frozenset[str]] = {
    "text": frozenset(_COMMON | {"analyzer", "fields", "index"}),
    "keyword": frozenset(_COMMON | {"ignore_above", "fields", "index", "doc_values"}),
    "boolean": frozenset(_COMMON | {"index", "doc_values"}),
    "date": frozenset(_COMMON | {"format", "locale", "index", "doc_values"}),
    **{name: frozenset(_COMMON | {"index", "doc_values"}) for name in [*INTEGERS, "float", "double"]},
}
TYPES = frozenset(_PARAMETERS)
_OBJECT_PARAMETERS = frozenset({"type", "properties", "dynamic", "enabled"})
_ROOT_PARAMETERS = frozenset({"properties", "dynamic", "_meta"})
# Parameters that may only say what the engine does anyway.
_FIXED: dict[str, Any] = {
    "doc_values": True,
    "locale": "",
}


@dataclass(frozen=True)
class Field:
    """One searchable field. ``source`` is the path in the document: that of the parent for a multi-field."""

    path: str
    type: str
    source: str
    index: bool = True
    analyzer: str = "standard"
    ignore_above: int | None = None
    format: str = dates.DEFAULT_FORMAT

    @property
    def is_text(self) -> bool:
        return self.type == "text"

    def analyze(self, text: str) -> list[analysis.Token]:
        found = analysis.analyzer(self.analyzer)
        assert found is not None, "checked when the mapping was compiled"
        return found(text)


@dataclass(frozen=True)
class Leaf:
    """A property that holds values: its own field and its multi-fields."""

    field: Field
    multi: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Node:
    """An object: its children, and what happens to one that it does not know."""

    path: str
    dynamic: bool | str
    enabled: bool = True
    children: dict[str, Node | Leaf] = field(default_factory=dict)


@dataclass(frozen=True)
class Mapping:
    """A compiled mapping. ``json`` is what Elasticsearch would show; treat all of it as immutable."""

    json: dict[str, Any]
    root: Node
    fields: dict[str, Field]
    objects: frozenset[str]

    def below(self, path: str) -> list[Field]:
        """The field of this path, or all fields of the object of this path."""
        if path in self.fields:
            return [self.fields[path]]
        if path not in self.objects:
            return []
        return [found for name, found in self.fields.items() if name.startswith(path + ".")]


def compile_mapping(given: dict[str, Any]) -> Mapping:
    """Raises a 400 that names the type or the parameter that Elasticsearch or this engine does not know."""
    _check(given, _ROOT_PARAMETERS, "_doc", "mapping")
    fields: dict[str, Field] = {}
    objects: set[str] = set()
    root = _compile_object(given, "", True, fields, objects, 0)
    if len(fields) + len(objects) > MAX_FIELDS:
        raise bad_request(f"Limit of total fields [{MAX_FIELDS}] has been exceeded")
    return Mapping(given, root, fields, frozenset(objects))


def _compile_object(
    given: dict[str, Any], path: str, inherited: bool | str, fields: dict[str, Field], objects: set[str], depth: int
) -> Node:
    if depth > MAX_DEPTH:
        raise bad_request(f"Limit of mapping depth [{MAX_DEPTH}] has been exceeded due to object field [{path}]")
    dynamic = _dynamic(given, inherited, path)
    enabled = given.get("enabled", True)
    if not isinstance(enabled, bool):
        raise mapper_error(f"Could not convert [enabled] of [{path}] to boolean")
    children: dict[str, Node | Leaf] = {}
    properties = given.get("properties", {})
    if not isinstance(properties, dict):
        raise mapper_error("Expected map for property [properties]")
    for name, definition in properties.items():
        child = f"{path}.{name}" if path else name
        if not name or "." in name:
            raise unsupported(f"property names that are empty or have a dot: [{child}]")
        children[name] = _compile_property(definition, child, dynamic, fields, objects, depth)
    return Node(path, dynamic, enabled, children)


def _compile_property(
    given: Any, path: str, dynamic: bool | str, fields: dict[str, Field], objects: set[str], depth: int
) -> Node | Leaf:
    if not isinstance(given, dict):
        raise mapper_error(f"Expected map for property [{path}]")
    if not isinstance(given.get("type", ""), str):
        raise mapper_error(f"The type of [{path}] must be text, found {kind_of(given['type'])}")
    if given.get("type", _implied(given)) == "object":
        _check(given, _OBJECT_PARAMETERS, path, "object")
        objects.add(path)
        return _compile_object(given, path, dynamic, fields, objects, depth + 1)
    leaf = _compile_leaf(given, path)
    for found in (leaf.field, *leaf.multi):
        fields[found.path] = found
    return leaf


def _implied(given: dict[str, Any]) -> str | None:
    return "object" if "properties" in given or list(given) == ["enabled"] else None


def _compile_leaf(given: dict[str, Any], path: str) -> Leaf:
    own = _compile_field(given, path, path)
    multi = []
    fields = given.get("fields", {})
    if not isinstance(fields, dict):
        raise mapper_error(f"Expected map for property [fields] on field [{path}]")
    for name, definition in fields.items():
        if not isinstance(definition, dict) or not isinstance(definition.get("type", ""), str):
            raise mapper_error(f"Expected map with a type for multi field [{path}.{name}]")
        if "fields" in definition:
            raise mapper_error(f"cannot use [fields] inside of a multi field [{path}.{name}]")
        multi.append(_compile_field(definition, f"{path}.{name}", path))
    return Leaf(own, tuple(multi))


def _compile_field(given: dict[str, Any], path: str, source: str) -> Field:
    kind = given.get("type")
    if kind is None:
        raise mapper_error(f"No type specified for field [{path}]")
    if kind not in _PARAMETERS:
        raise mapper_error(
            f"The mapper type [{kind}] declared on field [{path}] does not exist in the embedded search engine, "
            f"which has {', '.join(sorted(_PARAMETERS))} and object"
        )
    _check(given, _PARAMETERS[kind], path, kind)
    return Field(
        path=path,
        type=kind,
        source=source,
        index=_boolean(given, "index", path),
        analyzer=_known_analyzer(given.get("analyzer", "standard"), path),
        ignore_above=_positive(given, "ignore_above", path),
        format=_known_format(given.get("format", dates.DEFAULT_FORMAT), path),
    )


def _check(given: dict[str, Any], allowed: frozenset[str], path: str, kind: str) -> None:
    for name, value in given.items():
        if name not in allowed:
            raise mapper_error(
                f"unknown parameter [{name}] on mapper [{path}] of type [{kind}] in the embedded search engine"
            )
        if name in _FIXED and value != _FIXED[name]:
            raise unsupported(f"[{name}] set to [{_as_text(value)}] on mapper [{path}]")


def _dynamic(given: dict[str, Any], inherited: bool | str, path: str) -> bool | str:
    if "dynamic" not in given:
        return inherited
    value = _as_text(given["dynamic"])
    if value not in DYNAMIC:
        raise unsupported(f"dynamic mapping [{value}] on [{path or '_doc'}]")
    return DYNAMIC[value]


def _boolean(given: dict[str, Any], name: str, path: str) -> bool:
    value = given.get(name, True)
    if not isinstance(value, bool):
        raise mapper_error(f"Failed to parse value [{_as_text(value)}] of [{name}] on [{path}] as boolean")
    return value


def _positive(given: dict[str, Any], name: str, path: str) -> int | None:
    value = given.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise mapper_error(f"[{name}] on [{path}] must be a positive integer, found [{_as_text(value)}]")
    return value


def _known_analyzer(name: Any, path: str) -> str:
    if not isinstance(name, str) or analysis.analyzer(name) is None:
        raise mapper_error(f"analyzer [{_as_text(name)}] has not been configured in mappings for field [{path}]")
    return name


def _known_format(name: Any, path: str) -> str:
    if name not in dates.FORMATS:
        raise unsupported(f"date format [{_as_text(name)}] on [{path}]")
    return str(name)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def mapper_error(reason: str) -> EngineError:
    cause = {"type": "mapper_parsing_exception", "reason": reason}
    return EngineError(400, "mapper_parsing_exception", f"Failed to parse mapping: {reason}", caused_by=cause)


def normalized(given: dict[str, Any]) -> dict[str, Any]:
    """As Elasticsearch shows it: ``dynamic`` as text, properties by name."""
    normal: dict[str, Any] = {}
    for name, value in given.items():
        if name == "dynamic":
            normal[name] = _as_text(value)
        elif name in ("properties", "fields") and isinstance(value, dict):
            if value:
                normal[name] = {
                    key: normalized(value[key]) if isinstance(value[key], dict) else value[key] for key in sorted(value)
                }
        elif not (name == "type" and value == "object" and given.get("properties")):
            normal[name] = value
    return normal


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``old`` with what ``new`` adds. Raises a 400 when a field would change its type or its indexing."""
    merged = copy.deepcopy(old)
    for name, value in new.items():
        if name == "properties":
            _merge_properties(merged.setdefault("properties", {}), value, "")
        else:
            merged[name] = copy.deepcopy(value)
    return merged


_CHANGEABLE = frozenset({"ignore_above", "fields", "dynamic", "properties"})


def _merge_properties(old: dict[str, Any], new: dict[str, Any], prefix: str) -> None:
    for name, definition in new.items():
        if name not in old:
            old[name] = copy.deepcopy(definition)
        else:
            _merge_property(old[name], definition, prefix + name)


def _merge_property(old: dict[str, Any], new: dict[str, Any], path: str) -> None:
    was, now = old.get("type", "object"), new.get("type", "object")
    if was != now:
        raise bad_request(f"mapper [{path}] cannot be changed from type [{was}] to [{now}]")
    for name in (old.keys() | new.keys()) - _CHANGEABLE - {"type"}:
        if old.get(name) != new.get(name):
            raise bad_request(f"Mapper for [{path}] conflicts with existing mapper: Cannot update parameter [{name}]")
    for name, value in new.items():
        if name in ("properties", "fields"):
            _merge_properties(old.setdefault(name, {}), value, path + ".")
        elif name in _CHANGEABLE:
            old[name] = value
