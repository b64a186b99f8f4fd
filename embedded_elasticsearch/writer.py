"""Writing documents: versions, conflicts, partial updates."""

from __future__ import annotations

import json
import secrets
import sqlite3
from typing import Any

from embedded_elasticsearch import document_parser, documents, index_names, store
from embedded_elasticsearch.documents import Stored
from embedded_elasticsearch.errors import EngineError, invalid, no_such_index, only
from embedded_elasticsearch.request import load
from embedded_elasticsearch.store import Index

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
                index_names.check(name)
                found = store.create(self._connection, name, {}, {})
            self._indices[name] = found
        return found

    def put(self, name: str, doc_id: str | None, source: Any, create: bool, guard: Guard) -> tuple[int, dict[str, Any]]:
        index = self.index(name)
        doc_id = _checked_id(doc_id)
        old = documents.load(self._connection, index, doc_id)
        if create and old is not None:
            raise documents.conflict(index, doc_id, f"document already exists (current version [{old.version}])")
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
        old = documents.load(self._connection, index, _checked_id(doc_id))
        guard.check(index, doc_id, old)
        if old is None:
            upsert = options.get("upsert", options["doc"] if options.get("doc_as_upsert") else None)
            if upsert is None:
                raise _missing(index, doc_id)
            return 201, self._answer(index, self._save(name, index, doc_id, upsert, None), "created")
        before = json.loads(old.source)
        merged = _merged(before, options["doc"])
        if merged == before and _same(merged, before):
            answer = self._answer(index, old, "noop")
            answer["_shards"] = {"total": 0, "successful": 0, "failed": 0}
            return 200, answer
        return 200, self._answer(index, self._save(name, index, doc_id, merged, old), "updated")

    def delete(self, name: str, doc_id: str, guard: Guard) -> tuple[int, dict[str, Any]]:
        index = self.index(name)
        old = documents.load(self._connection, index, _checked_id(doc_id))
        guard.check(index, doc_id, old)
        buried = documents.erase(self._connection, index, doc_id, old)
        found = old is not None
        return (200 if found else 404), self._answer(index, buried, "deleted" if found else "not_found")

    def _save(self, name: str, index: Index, doc_id: str, source: Any, old: Stored | None) -> Stored:
        if not isinstance(source, dict):
            raise EngineError(400, "document_parsing_exception", "Malformed content, must start with an object")
        mapping, parsed = document_parser.parse(index.mapping, source, doc_id)
        if mapping is not index.mapping:
            index = self._indices[name] = store.change_mapping(self._connection, index, mapping)
        return documents.save(self._connection, index, doc_id, json.dumps(source), parsed, old)

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
            raise documents.conflict(index, doc_id, f"{required} but no document was found")
        current = f"current document has seqNo [{old.seq_no}] and primary term [1]"
        raise documents.conflict(index, doc_id, f"{required} {current}")


def _checked_id(doc_id: str | None) -> str:
    if doc_id is None:
        return secrets.token_urlsafe(15)
    size = len(doc_id.encode("utf-8", "replace"))
    if not doc_id:
        reason = "if _id is specified it must not be empty"
    elif size > MAX_ID:
        reason = f"id [{doc_id}] is too long, must be no longer than {MAX_ID} bytes but was: {size}"
    else:
        return document_parser.printable(doc_id)
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
    options = only(body, frozenset({"doc", "doc_as_upsert", "upsert"}), "UpdateRequest")
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


def document(line: bytes) -> Any:
    try:
        return load(line)
    except EngineError as error:
        raise EngineError(
            400, "document_parsing_exception", f"failed to parse: {error.reason}", caused_by=error.cause()
        ) from None
