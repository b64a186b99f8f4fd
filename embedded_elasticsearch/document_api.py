"""The endpoints that read and write single documents."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from embedded_elasticsearch import documents, store
from embedded_elasticsearch.documents import Stored
from embedded_elasticsearch.errors import EngineError, bad_request, invalid, kind_of, only, parsing
from embedded_elasticsearch.request import Request, Response
from embedded_elasticsearch.sources import SourceFilter
from embedded_elasticsearch.store import Index
from embedded_elasticsearch.writer import Guard, Writer, document


def _guard(request: Request) -> Guard:
    return Guard(request.number("if_seq_no"), request.number("if_primary_term"))


def put(request: Request) -> Response:
    op_type = request.query.get("op_type", "index")
    if op_type not in ("index", "create"):
        raise bad_request(f"opType must be 'create' or 'index', found: [{op_type}]")
    return _put(request, op_type == "create")


def create(request: Request) -> Response:
    return _put(request, True)


def _put(request: Request, create_only: bool) -> Response:
    source = _source_of(request)
    refreshed, guard = request.refreshed(), _guard(request)
    with request.database.write() as connection:
        writer = Writer(connection, refreshed, request.flag("require_alias"))
        status, answer = writer.put(request.parts["index"], request.parts.get("id"), source, create_only, guard)
    return Response(status, answer)


def _source_of(request: Request) -> Any:
    if not request.body.strip():
        raise EngineError(400, "parse_exception", "request body is required")
    return document(request.body)


def update(request: Request) -> Response:
    body = request.json(required=True)
    refreshed, guard = request.refreshed(), _guard(request)
    with request.database.write() as connection:
        writer = Writer(connection, refreshed, request.flag("require_alias"))
        status, answer = writer.update(request.parts["index"], request.parts["id"], body, guard)
    if answer["result"] == "noop":  # only a bulk request mentions the refresh then
        answer.pop("forced_refresh", None)
    return Response(status, answer)


def delete(request: Request) -> Response:
    refreshed, guard = request.refreshed(), _guard(request)
    with request.database.write() as connection:
        status, answer = Writer(connection, refreshed).delete(request.parts["index"], request.parts["id"], guard)
    return Response(status, answer)


def get(request: Request) -> Response:
    doc_id, show = request.parts["id"], SourceFilter.from_query(request.query)
    with request.database.read(request.deadline) as connection:
        index = store.for_reading_one(connection, request.parts["index"])
        stored = documents.load(connection, index, doc_id)
    if stored is None:
        return Response(404, {"_index": index.name, "_id": doc_id, "found": False})
    return Response(200, document_response(index, stored, show))


def document_response(index: Index, stored: Stored, show: SourceFilter) -> dict[str, Any]:
    """A found document as ``GET _doc`` gives it."""
    answer: dict[str, Any] = {
        "_index": index.name,
        "_id": stored.id,
        "_version": stored.version,
        "_seq_no": stored.seq_no,
        "_primary_term": 1,
    }
    if stored.ignored:
        answer["_ignored"] = json.loads(stored.ignored)
    answer["found"] = True
    if show.is_enabled:
        answer["_source"] = show.apply(json.loads(stored.source))
    return answer


def mget(request: Request) -> Response:
    body = only(request.json(required=True), frozenset({"ids", "docs"}), "mget")
    show = SourceFilter.from_query(request.query)
    requests = list(_requested(body, request.parts.get("index"), show))
    if not requests:
        raise invalid("no documents to get")
    with request.database.read(request.deadline) as connection:
        return Response(200, {"docs": [_one(connection, *item) for item in requests]})


def _requested(
    body: dict[str, Any], default: str | None, show: SourceFilter
) -> Iterator[tuple[str, str, SourceFilter]]:
    for name in ("ids", "docs"):
        if not isinstance(body.get(name, []), list):
            raise parsing(f"[mget] [{name}] must be an array, found {kind_of(body[name])}")
    for doc_id in body.get("ids", []):
        yield _index_name(default), str(doc_id), show
    for item in body.get("docs", []):
        options = only(item, frozenset({"_index", "_id", "_source"}), "mget docs")
        if "_id" not in options:
            raise invalid("id is missing")
        own = SourceFilter.read(options["_source"]) if "_source" in options else show
        yield _index_name(options.get("_index", default)), str(options["_id"]), own


def _index_name(name: Any) -> str:
    if not isinstance(name, str):
        raise invalid("index is missing")
    return name


def _one(connection: sqlite3.Connection, name: str, doc_id: str, show: SourceFilter) -> dict[str, Any]:
    try:
        index = store.for_reading_one(connection, name)
    except EngineError as error:
        return {"_index": name, "_id": doc_id, "error": error.body()["error"]}
    stored = documents.load(connection, index, doc_id)
    if stored is None:
        return {"_index": index.name, "_id": doc_id, "found": False}
    return document_response(index, stored, show)
