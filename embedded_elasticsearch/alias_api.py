"""The endpoints for aliases."""

from __future__ import annotations

import sqlite3
from typing import Any

from embedded_elasticsearch import index_names, store
from embedded_elasticsearch.errors import EngineError, bad_request, only, parsing
from embedded_elasticsearch.request import Request, Response
from embedded_elasticsearch.store import Index

_DONE = {"acknowledged": True, "errors": False}


def update(request: Request) -> Response:
    body = only(request.json(required=True), frozenset({"actions"}), "aliases")
    actions = body.get("actions")
    if not isinstance(actions, list) or not actions:
        raise bad_request("No action specified")
    with request.database.write() as connection:
        # An alias may take the name of an index that goes away in the same breath.
        for kind, options in sorted(map(_action, actions), key=lambda pair: pair[0] != "remove_index"):
            _act(connection, kind, options)
    return Response(200, _DONE)


_ACTION = frozenset({"index", "indices", "alias", "aliases", "must_exist"})


def _action(given: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(given, dict) or len(given) != 1:
        raise parsing("[aliases] each action must be an object with one of add, remove and remove_index")
    ((kind, options),) = given.items()
    if kind not in ("add", "remove", "remove_index"):
        raise parsing(f"[aliases] unknown action [{kind}]")
    return kind, only(options, _ACTION, f"aliases {kind}")


def _act(connection: sqlite3.Connection, kind: str, options: dict[str, Any]) -> None:
    expressions = _names_in(options, "index", "indices")
    if kind == "remove_index":
        for index in index_names.concrete(connection, ",".join(expressions)):
            store.drop(connection, index)
        return
    indices = index_names.resolve(connection, ",".join(expressions))
    for alias in _names_in(options, "alias", "aliases"):
        if kind == "add":
            for index in indices:
                add(connection, index, alias, {})
        else:
            _remove(connection, indices, alias, options.get("must_exist", True))


def _names_in(options: dict[str, Any], one: str, many: str) -> list[str]:
    given = options.get(one, options.get(many))
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) and name for name in listed):
        raise bad_request(f"One of [{one}] or [{many}] is required")
    return listed


def add(connection: sqlite3.Connection, index: Index, alias: str, options: Any) -> None:
    only(options, frozenset(), f"alias {alias}")
    index_names.check(alias, "alias")
    if store.find(connection, alias) is not None:
        raise EngineError(
            400,
            "invalid_alias_name_exception",
            f"Invalid alias name [{alias}]: an index or data stream exists with the same name as the alias",
        )
    store.add_alias(connection, alias, index)


def _remove(connection: sqlite3.Connection, indices: list[Index], alias: str, must_exist: bool) -> None:
    removed = [store.remove_alias(connection, alias, index) for index in indices]
    if must_exist and not any(removed):
        raise EngineError(
            404, "aliases_not_found_exception", f"aliases [{alias}] missing", resource_type="aliases", resource_id=alias
        )


def put(request: Request) -> Response:
    options = request.json()
    with request.database.write() as connection:
        for index in index_names.resolve(connection, request.parts["index"]):
            add(connection, index, request.parts["name"], options)
    return Response(200, _DONE)


def delete(request: Request) -> Response:
    with request.database.write() as connection:
        indices = index_names.resolve(connection, request.parts["index"])
        for alias in request.parts["name"].split(","):
            _remove(connection, indices, alias, True)
    return Response(200, _DONE)


def get(request: Request) -> Response:
    patterns = request.parts.get("name")
    with request.database.read(request.deadline) as connection:
        indices = index_names.resolve(connection, request.parts.get("index"), request.flag("ignore_unavailable"))
        pointing = store.aliases(connection)
    found: dict[str, Any] = {}
    for index in indices:
        own: dict[str, Any] = {alias: {} for alias, target in pointing if target == index.name and _is(alias, patterns)}
        if own or patterns is None:
            found[index.name] = {"aliases": own}
    missing = _missing(patterns, found)
    if missing:
        return Response(404, {"error": f"alias [{missing}] missing", "status": 404, **found})
    return Response(200, found)


def _is(alias: str, patterns: str | None) -> bool:
    return patterns is None or any(index_names.matches(alias, part) for part in patterns.split(","))


def _missing(patterns: str | None, found: dict[str, Any]) -> str | None:
    """The names asked for that no index has, as Elasticsearch lists them."""
    given = {alias for entry in found.values() for alias in entry["aliases"]}
    plain = [part for part in (patterns or "").split(",") if part and "*" not in part and part != "_all"]
    return ",".join(sorted(part for part in plain if part not in given)) or None
