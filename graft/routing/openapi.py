"""The OpenAPI 3.1 description of the site: native operations as their framework types them, and the legacy rules.

Each operation says in ``x-graft`` which side answers it. WebSockets have no place in OpenAPI, and a path that several
hosts have is described once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from graft.flaskside.rules import LegacyRule, shape
from graft.frameworks import HostedApp
from graft.routing.native import NativeRoute
from graft.routing.table import RouteTable, Row
from graft.types import ANY, RouteKey

Document = dict[str, Any]

METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
"""Those that OpenAPI 3.1 knows."""


def document(table: RouteTable, *, title: str = "The site", version: str = "0", native_only: bool = False) -> Document:
    """A new document each time. ``native_only`` leaves out what only the legacy app has."""
    made = _Document()
    for row in table:
        shown = row.native is not None and getattr(row.native.route, "include_in_schema", True)
        if row.key.method in METHODS and (shown or (row.native is None and not native_only)):
            made.add(row, row.key)
        for rule in row.beneath if not native_only else ():
            if rule.key.method in METHODS:
                made.add(Row(rule.key, None, rule, None), row.key)
    return {"openapi": "3.1.0", "info": {"title": title, "version": version}, **made.parts()}


class _Document:
    def __init__(self) -> None:
        self._paths: dict[str, dict[str, Any]] = {}
        self._templates: dict[str, str] = {}
        self._components: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, dict[str, Any]] = {}
        self._ids: set[str] = set()
        self._typed: dict[int, Document] = {}

    def add(self, row: Row, switched: RouteKey) -> None:
        """``switched`` is the key of its switch: a subtree has one for all of its rules."""
        # Two templates of one shape are one path: the first gives its parameters their names.
        template = self._templates.setdefault(shape(row.key.path), _plain(row.key.path))
        item = self._paths.setdefault(template, {})
        method = row.key.method.lower()
        if method in item:
            return
        operation = self._operation(row, template)
        operation["operationId"] = self._unique(operation.get("operationId") or _identifier(row))
        sides = ("native", row.native is not None or switched.method == ANY), ("legacy", row.legacy is not None)
        operation["x-graft"] = {
            "route": str(switched),
            "sides": [side for side, one in sides if one],
        }
        item[method] = operation

    def parts(self) -> Document:
        parts: Document = {"paths": self._paths}
        if self._components:
            parts["components"] = self._components
        if self._tags:
            parts["tags"] = list(self._tags.values())
        return parts

    def _operation(self, row: Row, template: str) -> dict[str, Any]:
        if row.native is not None and (typed := self._typed_operation(row.native, row.key.method)) is not None:
            return _renamed(typed, _names(row.key.path), _names(template))
        operation: dict[str, Any] = _described(row)
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in zip(_names(template), _schemas(row), strict=True)
        ]
        if parameters:
            operation["parameters"] = parameters
        operation["responses"] = {"default": {"description": "What the route answers."}}
        return operation

    def _typed_operation(self, native: NativeRoute, method: str) -> dict[str, Any] | None:
        """As the framework describes it; None where it does not."""
        hosted = getattr(native.route, "app", None)
        if not isinstance(hosted, HostedApp):
            return None
        described = self._typed.get(id(hosted))
        if described is None:
            described = self._typed[id(hosted)] = self._taken_over(hosted)
        operation: dict[str, Any] | None = (
            described.get("paths", {}).get(_plain(native.route.path), {}).get(method.lower())  # type: ignore[attr-defined]
        )
        return dict(operation) if operation is not None else None

    def _taken_over(self, hosted: HostedApp) -> Document:
        """The framework's own document, with the names of its components made unique among all apps."""
        described = hosted.openapi()
        renamed: dict[str, str] = {}
        for kind, named in described.get("components", {}).items():
            taken = self._components.setdefault(kind, {})
            for name, component in named.items():
                new = name
                if taken.get(name, component) != component:
                    new = f"{hosted.name.rpartition('.')[2]}-{name}"
                    renamed[f"#/components/{kind}/{name}"] = f"#/components/{kind}/{new}"
                taken[new] = component
        for tag in described.get("tags", ()):
            self._tags.setdefault(tag["name"], tag)
        if renamed:
            described = _with_references(described, renamed)
            for kind, named in described.get("components", {}).items():
                for name, component in named.items():
                    key = renamed.get(f"#/components/{kind}/{name}", name).rpartition("/")[2]
                    self._components[kind][key] = component
        return described

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._ids:
            number += 1
            name = f"{wanted}_{number}"
        self._ids.add(name)
        return name


def _described(row: Row) -> dict[str, Any]:
    """Summary, description and tag, from the docstring of what answers."""
    view: Any = getattr(row.native.route, "endpoint", None) if row.native is not None else None
    if row.legacy is not None and (view is None or not inspect.getdoc(view)):
        view = _view(row.legacy, row.key.method)
    described: dict[str, Any] = {}
    text = inspect.getdoc(view) if callable(view) else None
    if text:
        first, _, rest = text.partition("\n\n")
        described["summary"] = " ".join(first.split())
        if rest.strip():
            described["description"] = rest.strip()
    if row.legacy is not None and "." in row.legacy.endpoint:
        described["tags"] = [row.legacy.endpoint.rpartition(".")[0]]
    return described


def _view(rule: LegacyRule, method: str) -> Callable[..., Any] | None:
    view = rule.app.view_functions.get(rule.endpoint)
    in_class = getattr(getattr(view, "view_class", None), method.lower(), None)
    return in_class or view


def _schemas(row: Row) -> list[dict[str, Any]]:
    """One for each parameter of the path, in its order."""
    choices = _ANY.findall(row.legacy.rule.rule) if row.legacy is not None else []
    by_name = {name: {"type": "string", "enum": [one.strip(" '\"") for one in of.split(",")]} for of, name in choices}
    return [
        by_name.get(name) or _SCHEMAS.get(kind, {"type": "string"}) for name, kind in _PARAMETER.findall(row.key.path)
    ]


def _identifier(row: Row) -> str:
    owner = row.native.name if row.native is not None else row.legacy.endpoint if row.legacy is not None else "route"
    return f"{_UNSAFE.sub('_', owner)}_{row.key.method.lower()}"


def _plain(path: str) -> str:
    return _PARAMETER.sub(r"{\1}", path)


def _names(path: str) -> list[str]:
    return [name for name, _ in _PARAMETER.findall(path)]


def _renamed(operation: dict[str, Any], old: Iterable[str], new: Iterable[str]) -> dict[str, Any]:
    names = dict(zip(old, new, strict=True))
    parameters = [
        {**each, "name": names.get(each["name"], each["name"])} if each.get("in") == "path" else each
        for each in operation.get("parameters", ())
    ]
    return {**operation, "parameters": parameters} if parameters else operation


def _with_references(part: Any, renamed: dict[str, str]) -> Any:
    if isinstance(part, dict):
        return {
            key: renamed.get(value, value)
            if key == "$ref" and isinstance(value, str)
            else _with_references(value, renamed)
            for key, value in part.items()
        }
    return [_with_references(each, renamed) for each in part] if isinstance(part, list) else part


_PARAMETER = re.compile(r"\{([a-zA-Z_]\w*)(?::([a-zA-Z_]\w*))?\}")
_ANY = re.compile(r"<any\(([^<>]*)\):([a-zA-Z_]\w*)>")
_UNSAFE = re.compile(r"\W+")
_SCHEMAS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
}
