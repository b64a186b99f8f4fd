"""The endpoints that read and write single documents, and ``_bulk``."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

from graft.search.embedded import documents, names, store
from graft.search.embedded.errors import EngineError, bad_request, invalid, kind_of, no_such_index, only, unsupported
from graft.search.embedded.request import Request, Response, load
from graft.search.embedded.sources import SourceFilter
from graft.search.embedded.store import Index, Stored

MAX_ID = 512  # bytes
_SHARDS = {"total": 1, "successful": 1, "failed": 0}


class Writer:
    """Writes documents within one transaction; indices are looked up once."""

    def __init__(
        self, connection: sqlite3.Connection, forced_refresh: bool = False, require_alias: bool = False
    ) -> None:
        self._connection = connection
        self._refreshed = {"forced_refresh": True} if forced_refresh else {}
        self._require_alias = require_alias
        self._indices: dict[str, Index] = {}

    def index(self, name: str, create: bool = True) -> Index:
        """The index that ``name`` means for writing, made on the fly if there is none, as Elasticsearch does."""
        found = self._indices.get(name)
        if found is None:
            found = store.for_writing(self._connection, name)
            if found is None or (self._require_alias and found.name == name):
                if self._require_alias or not create:
                    raise no_such_index(name)
                names.check(name)
                found = store.create(self._connection, name, {}, {})
            self._indices[name] = found
        return found

    def put(self, name: str, doc_id: str | None, source: Any, create: bool, guard: Guard) -> tuple[int, dict[str, Any]]:
        index = self.index(name)
        doc_id = _checked_id(doc_id)
        old = store.load(self._connection, index, doc_id)
        if create and old is not None:
            raise store.conflict(index, doc_id, f"document already exists (current version [{old.version}])")
        guard.check(index, doc_id, old)
        stored = self._save(name, index, doc_id, source, old)
        return (
            (201, self._answer(index, stored, "created"))
            if old is None
            else (200, self._answer(index, stored, "updated"))
        )

    def update(self, name: str, doc_id: str, body: Any, guard: Guard) -> tuple[int, dict[str, Any]]:
        index = self.index(name)
        options = _update_options(body)
        old = store.load(self._connection, index, _checked_id(doc_id))
        guard.check(index, doc_id, old)
        if old is None:
            upsert = options.get("upsert", options["doc"] if options.get("doc_as_upsert") else None)
            if upsert is None:
                raise _missing(index, doc_id)
            return 201, self._answer(index, self._save(name, index, doc_id, upsert, None), "created")
        before = json.loads(old.source)
        merged = _merged(before, options["doc"])
        if merged == before and _same(merged, before) and options.get("detect_noop", True):
            answer = self._answer(index, old, "noop")
            answer["_shards"] = {"total": 0, "successful": 0, "failed": 0}
            return 200, answer
        return 200, self._answer(index, self._save(name, index, doc_id, merged, old), "updated")

    def delete(self, name: str, doc_id: str, guard: Guard) -> tuple[int, dict[str, Any]]:
        index = self.index(name)
        old = store.load(self._connection, index, _checked_id(doc_id))
        guard.check(index, doc_id, old)
        buried = store.erase(self._connection, index, doc_id, old)
        found = old is not None
        return (200 if found else 404), self._answer(index, buried, "deleted" if found else "not_found")

    def _save(self, name: str, index: Index, doc_id: str, source: Any, old: Stored | None) -> Stored:
        if not isinstance(source, dict):
            raise EngineError(400, "document_parsing_exception", "Malformed content, must start with an object")
        mapping, parsed = documents.parse(index.mapping, source, doc_id)
        if mapping is not index.mapping:
            index = self._indices[name] = store.change_mapping(self._connection, index, mapping)
        return store.save(self._connection, index, doc_id, json.dumps(source), parsed, old)

    def _answer(self, index: Index, stored: Stored, result: str) -> dict[str, Any]:
        return {
            "_index": index.name,
            "_id": stored.id,
            "_version": stored.version,
            "result": result,
            **self._refreshed,
            "_shards": _SHARDS,
            "_seq_no": stored.seq_no,
            "_primary_term": 1,
        }


class Guard:
    """``if_seq_no`` and ``if_primary_term``: write only over the state that the writer has seen."""

    def __init__(self, seq_no: int | None = None, primary_term: int | None = None) -> None:
        if (seq_no is None) != (primary_term is None):
            raise invalid("ifSeqNo and ifPrimaryTerm must be given together")
        self._seq_no = seq_no
        self._primary_term = primary_term

    def check(self, index: Index, doc_id: str, old: Stored | None) -> None:
        if self._seq_no is None or (old is not None and (old.seq_no, 1) == (self._seq_no, self._primary_term)):
            return
        required = f"required seqNo [{self._seq_no}], primary term [{self._primary_term}]."
        if old is None:
            raise store.conflict(index, doc_id, f"{required} but no document was found")
        current = f"current document has seqNo [{old.seq_no}] and primary term [1]"
        raise store.conflict(index, doc_id, f"{required} {current}")


def _guard(request: Request) -> Guard:
    return Guard(request.number("if_seq_no"), request.number("if_primary_term"))


def _checked_id(doc_id: str | None) -> str:
    if doc_id is None:
        return secrets.token_urlsafe(15)
    size = len(doc_id.encode("utf-8", "replace"))
    if not doc_id:
        reason = "if _id is specified it must not be empty"
    elif size > MAX_ID:
        reason = f"id [{doc_id}] is too long, must be no longer than {MAX_ID} bytes but was: {size}"
    else:
        return documents.printable(doc_id)
    raise invalid(reason)


def _missing(index: Index, doc_id: str) -> EngineError:
    return EngineError(
        404,
        "document_missing_exception",
        f"[{doc_id}]: document missing",
        index_uuid=index.uuid,
        shard="0",
        index=index.name,
    )


def _update_options(body: Any) -> dict[str, Any]:
    options = only(body, frozenset({"doc", "doc_as_upsert", "upsert", "detect_noop"}), "UpdateRequest")
    if not isinstance(options.get("doc"), dict):
        raise invalid("script or doc is missing")
    return options


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Objects are merged, everything else is replaced."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _same(one: Any, other: Any) -> bool:
    """Python takes 1, 1.0 and True for equal; a document that changes from one to the other did change."""
    return json.dumps(one) == json.dumps(other)


# Single documents


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
    return _document(request.body)


def _document(line: bytes) -> Any:
    try:
        return load(line)
    except EngineError as error:
        raise EngineError(
            400, "document_parsing_exception", f"failed to parse: {error.reason}", caused_by=error.cause()
        ) from None


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
        stored = store.load(connection, index, doc_id)
    if stored is None:
        return Response(404, {"_index": index.name, "_id": doc_id, "found": False})
    return Response(200, shown(index, stored, show))


def shown(index: Index, stored: Stored, show: SourceFilter) -> dict[str, Any]:
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
    if show.wanted:
        answer["_source"] = show.apply(json.loads(stored.source))
    return answer


def get_source(request: Request) -> Response:
    with request.database.read(request.deadline) as connection:
        index = store.for_reading_one(connection, request.parts["index"])
        stored = store.load(connection, index, request.parts["id"])
    if stored is None:
        reason = f"Document not found [{index.name}]/[{request.parts['id']}]"
        raise EngineError(404, "resource_not_found_exception", reason)
    return Response(200, SourceFilter.from_query(request.query).apply(json.loads(stored.source)))


def mget(request: Request) -> Response:
    body = only(request.json(required=True), frozenset({"ids", "docs"}), "mget")
    show = SourceFilter.from_query(request.query)
    wanted = list(_wanted(body, request.parts.get("index"), show))
    if not wanted:
        raise invalid("no documents to get")
    with request.database.read(request.deadline) as connection:
        return Response(200, {"docs": [_one(connection, *item) for item in wanted]})


def _wanted(body: dict[str, Any], default: str | None, show: SourceFilter) -> Iterator[tuple[str, str, SourceFilter]]:
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
    stored = store.load(connection, index, doc_id)
    if stored is None:
        return {"_index": index.name, "_id": doc_id, "found": False}
    return shown(index, stored, show)


# Bulk

_META = frozenset({"_index", "_id", "if_seq_no", "if_primary_term", "require_alias", "retry_on_conflict"})
_KINDS = ("create", "delete", "index", "update")
Action = tuple[str, dict[str, Any], bytes]


def bulk(request: Request) -> Response:
    started = time.monotonic()
    actions = list(_actions(request))
    if not actions:
        raise invalid("no requests added")
    refreshed = request.refreshed()
    with request.database.write() as connection:
        writer = Writer(connection, refreshed, request.flag("require_alias"))
        items = [_item(writer, *action) for action in actions]
    errors = any("error" in answer for item in items for answer in item.values())
    return Response(200, {"errors": errors, "took": int((time.monotonic() - started) * 1000), "items": items})


def _actions(request: Request) -> Iterator[Action]:
    if not request.body:
        raise EngineError(400, "parse_exception", "request body is required")
    if not request.body.endswith(b"\n"):
        raise bad_request("The bulk request must be terminated by a newline [\\n]")
    lines = iter(enumerate(request.body.split(b"\n")[:-1], start=1))
    for number, line in lines:
        if not line.strip():
            continue
        kind, meta = _meta(line, number)
        meta.setdefault("_index", request.parts.get("index"))
        if not isinstance(meta["_index"], str):
            raise invalid("index is missing")
        source = b"" if kind == "delete" else next(lines, (0, b""))[1]
        yield kind, meta, source


def _meta(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    given = load(line)
    if not isinstance(given, dict) or len(given) != 1:
        raise bad_request(
            f"Malformed action/metadata line [{number}], expected START_OBJECT with one field "
            f"but found {kind_of(given)}"
        )
    ((kind, meta),) = given.items()
    if kind not in _KINDS:
        listed = "[create], [delete], [index] or [update]"
        raise bad_request(f"Malformed action/metadata line [{number}], expected field {listed} but found [{kind}]")
    if not isinstance(meta, dict):
        raise bad_request(f"Malformed action/metadata line [{number}], expected START_OBJECT but found {kind_of(meta)}")
    for key, value in meta.items():
        if key not in _META:
            raise bad_request(f"Action/metadata line [{number}] contains an unknown parameter [{key}]")
        if key in ("_id", "_index") and value is not None and not isinstance(value, (str, int)):
            raise bad_request(f"Malformed action/metadata line [{number}], [{key}] must be a string")
    return kind, dict(meta)


def _item(writer: Writer, kind: str, meta: dict[str, Any], line: bytes) -> dict[str, Any]:
    name = meta["_index"]
    doc_id = None if meta.get("_id") is None else str(meta["_id"])
    try:
        if meta.get("require_alias"):
            raise unsupported("[require_alias] per bulk item")
        guard = Guard(meta.get("if_seq_no"), meta.get("if_primary_term"))
        status, answer = _OPERATIONS[kind](writer, name, doc_id, line, guard)
        return {kind: {**answer, "status": status}}
    except EngineError as error:
        if error.status >= 500:
            raise
        return {kind: {"_index": name, "_id": doc_id, "status": error.status, "error": error.cause()}}


def _needed(doc_id: str | None) -> str:
    if doc_id is None:
        raise invalid("id is missing")
    return doc_id


_Operation = Callable[[Writer, str, str | None, bytes, Guard], tuple[int, dict[str, Any]]]
_OPERATIONS: dict[str, _Operation] = {
    "index": lambda writer, name, doc_id, line, guard: writer.put(name, doc_id, _document(line), False, guard),
    "create": lambda writer, name, doc_id, line, guard: writer.put(name, doc_id, _document(line), True, guard),
    "update": lambda writer, name, doc_id, line, guard: writer.update(name, _needed(doc_id), _document(line), guard),
    "delete": lambda writer, name, doc_id, line, guard: writer.delete(name, _needed(doc_id), guard),
}
