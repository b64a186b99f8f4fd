"""The endpoints that manage indices, aliases and the cluster."""

from __future__ import annotations

from typing import Any

from elasticsearch import __version__

from embedded_elasticsearch import alias_api, index_names, store
from embedded_elasticsearch.errors import EngineError, bad_request, kind_of, parsing
from embedded_elasticsearch.mapping import compile_mapping, merge
from embedded_elasticsearch.request import Request, Response
from embedded_elasticsearch.store import Index

ACKNOWLEDGED = {"acknowledged": True}
# Settings that mean nothing to one file, or that only say what the engine does anyway.
_SETTINGS = frozenset({"number_of_shards", "number_of_replicas", "refresh_interval", "auto_expand_replicas"})


def info(request: Request) -> Response:
    version = {
        "number": ".".join(str(part) for part in __version__[:3]),
        "build_flavor": "embedded",
        "build_type": "sqlite",
        "build_hash": "unknown",
        "build_date": "1970-01-01T00:00:00Z",
        "build_snapshot": False,
        "lucene_version": "0",
        "minimum_wire_compatibility_version": "8.0.0",
        "minimum_index_compatibility_version": "8.0.0",
    }
    return Response(
        200,
        {
            "name": "embedded",
            "cluster_name": "embedded",
            "cluster_uuid": "_na_",
            "version": version,
            "tagline": "You Know, for Search",
        },
    )


def health(request: Request) -> Response:
    with request.database.read(request.deadline) as connection:
        count = len(index_names.resolve(connection, request.parts.get("index")))
    return Response(
        200,
        {
            "cluster_name": "embedded",
            "status": "green",
            "timed_out": False,
            "number_of_nodes": 1,
            "number_of_data_nodes": 1,
            "active_primary_shards": count,
            "active_shards": count,
            "relocating_shards": 0,
            "initializing_shards": 0,
            "unassigned_shards": 0,
            "unassigned_primary_shards": 0,
            "delayed_unassigned_shards": 0,
            "number_of_pending_tasks": 0,
            "number_of_in_flight_fetch": 0,
            "task_max_waiting_in_queue_millis": 0,
            "active_shards_percent_as_number": 100.0,
        },
    )


# Indices


def create_index(request: Request) -> Response:
    name = request.parts["index"]
    body = request.json()
    for key in body:
        if key not in ("mappings", "settings", "aliases"):
            raise EngineError(400, "parse_exception", f"unknown key [{key}] for create index")
    index_names.check(name)
    mappings, new_aliases = (_object(body, key) for key in ("mappings", "aliases"))
    with request.database.write() as connection:
        existing = store.find(connection, name)
        if existing is not None:
            raise _exists(existing)
        if store.targets(connection, name):
            raise EngineError(
                400,
                "invalid_index_name_exception",
                f"Invalid index name [{name}], already exists as alias",
                index_uuid="_na_",
                index=name,
            )
        compile_mapping(mappings)
        index = store.create(connection, name, mappings, _settings(body.get("settings") or {}))
        for alias, options in new_aliases.items():
            alias_api.add(connection, index, alias, options or {})
    return Response(200, {**ACKNOWLEDGED, "shards_acknowledged": True, "index": name})


def _object(body: dict[str, Any], key: str) -> dict[str, Any]:
    given = body.get(key) or {}
    if not isinstance(given, dict):
        raise parsing(f"[{key}] must be an object, found {kind_of(given)}")
    return given


def _exists(index: Index) -> EngineError:
    return EngineError(
        400,
        "resource_already_exists_exception",
        f"index [{index.name}/{index.uuid}] already exists",
        index_uuid=index.uuid,
        index=index.name,
    )


def _settings(given: Any) -> dict[str, str]:
    """Flat names without ``index.``, values as text, as Elasticsearch keeps them."""
    if not isinstance(given, dict):
        raise parsing("[settings] must be an object")
    flat: dict[str, str] = {}
    for key, value in given.items():
        name = key.removeprefix("index.")
        if name == "index" and isinstance(value, dict):
            flat.update(_settings(value))
        elif name not in _SETTINGS or isinstance(value, (dict, list)):
            raise bad_request(
                f"unknown setting [index.{name}] in the embedded search engine, which has "
                + ", ".join(sorted(_SETTINGS))
            )
        elif value is not None:
            flat[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat


def delete_index(request: Request) -> Response:
    with request.database.write() as connection:
        for index in index_names.concrete(connection, request.parts["index"], request.flag("ignore_unavailable")):
            store.drop(connection, index)
    return Response(200, ACKNOWLEDGED)


def get_index(request: Request) -> Response:
    found = {}
    with request.database.read(request.deadline) as connection:
        pointing = store.aliases(connection)
        for index in index_names.resolve(connection, request.parts["index"], request.flag("ignore_unavailable")):
            own: dict[str, Any] = {alias: {} for alias, target in pointing if target == index.name}
            found[index.name] = {"aliases": own, "mappings": index.mapping.json, "settings": _shown_settings(index)}
    return Response(200, found)


def _shown_settings(index: Index) -> dict[str, Any]:
    own = {"number_of_shards": "1", "number_of_replicas": "0", **index.settings}
    settings_of_index = {**own, "provided_name": index.name, "creation_date": str(index.created), "uuid": index.uuid}
    return {"index": {**settings_of_index, "version": {"created": "8000000"}}}


def get_mapping(request: Request) -> Response:
    with request.database.read(request.deadline) as connection:
        indices = index_names.resolve(connection, request.parts.get("index"), request.flag("ignore_unavailable"))
        return Response(200, {index.name: {"mappings": index.mapping.json} for index in indices})


def put_mapping(request: Request) -> Response:
    body = request.json(required=True)
    with request.database.write() as connection:
        for index in index_names.resolve(connection, request.parts["index"]):
            compile_mapping(body)
            merged = compile_mapping(merge(index.mapping.json, body))
            store.change_mapping(connection, index, merged)
    return Response(200, ACKNOWLEDGED)


def refresh(request: Request) -> Response:
    """Nothing to do: what is written is visible."""
    with request.database.read(request.deadline) as connection:
        count = len(index_names.resolve(connection, request.parts.get("index"), request.flag("ignore_unavailable")))
    return Response(200, {"_shards": {"total": count, "successful": count, "failed": 0}})
