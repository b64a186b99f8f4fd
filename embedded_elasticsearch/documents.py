"""Documents in the tables of an index; store.py says which these are. Used in an open transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from embedded_elasticsearch.analysis import analyzer, fts_text
from embedded_elasticsearch.document_parser import Parsed
from embedded_elasticsearch.errors import EngineError
from embedded_elasticsearch.mapping import Field
from embedded_elasticsearch.store import Index

TOMBSTONE_SECONDS = 60  # index.gc_deletes: how long the version of a deleted document is remembered


@dataclass(frozen=True)
class Stored:
    """One document as it lies in the file."""

    id: str
    seq_no: int
    version: int
    source: str
    ignored: str | None = None


def load(connection: sqlite3.Connection, index: Index, doc_id: str) -> Stored | None:
    row = connection.execute(
        f"SELECT id, seq, version, source, ignored FROM {index.docs} WHERE id = ?", (doc_id,)
    ).fetchone()
    return None if row is None else Stored(*row)


def load_many(connection: sqlite3.Connection, index: Index, seqs: Iterable[int]) -> dict[int, Stored]:
    """Documents by their row numbers."""
    numbers = list(seqs)
    if not numbers:
        return {}
    marks = ",".join("?" * len(numbers))
    rows = connection.execute(
        f"SELECT id, seq, version, source, ignored FROM {index.docs} WHERE seq IN ({marks})", numbers
    )
    return {row[1]: Stored(*row) for row in rows}


def save(
    connection: sqlite3.Connection, index: Index, doc_id: str, source: str, parsed: Parsed, old: Stored | None
) -> Stored:
    """Write a document, in place of ``old`` if there was one. Returns it with its new version and number."""
    if old is not None:
        _erase(connection, index, old)
        version = old.version + 1
    else:
        version = _buried_version(connection, index, doc_id) + 1
    seq = _next_seq(connection, index)
    ignored = json.dumps(sorted(parsed.ignored)) if parsed.ignored else None
    connection.execute(
        f"INSERT INTO {index.docs} (seq, id, version, source, ignored) VALUES (?, ?, ?, ?, ?)",
        (seq, doc_id, version, source, ignored),
    )
    _save_fields(connection, index, seq, parsed)
    return Stored(doc_id, seq, version, source, ignored)


def _save_fields(connection: sqlite3.Connection, index: Index, seq: int, parsed: Parsed) -> None:
    ids = index.field_ids
    rows = [(ids[path], value, seq) for path, values in parsed.values.items() for value in values]
    # A text field leaves a mark among the values: that is how ``exists`` finds it.
    rows.extend((ids[path], "", seq) for path in parsed.texts)
    connection.executemany(f"INSERT OR IGNORE INTO {index.values} (field, value, doc) VALUES (?, ?, ?)", rows)
    for path, texts in parsed.texts.items():
        analyze = analyzer(index.mapping.fields[path].analyzer)
        assert analyze is not None
        tokens = fts_text(texts, analyze)
        if tokens:
            connection.execute(f"INSERT INTO {index.text_table(path)} (rowid, text) VALUES (?, ?)", (seq, tokens))


def erase(connection: sqlite3.Connection, index: Index, doc_id: str, old: Stored | None) -> Stored:
    """Delete a document; ``old`` is None when there is none, which takes a number and a version all the same."""
    if old is not None:
        _erase(connection, index, old)
        version = old.version + 1
    else:
        version = _buried_version(connection, index, doc_id) + 1
    now = time.time()
    connection.execute("DELETE FROM tombstones WHERE at < ?", (now - TOMBSTONE_SECONDS,))
    connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)", (index.id, doc_id, version, now))
    return Stored(doc_id, _next_seq(connection, index), version, "")


def _erase(connection: sqlite3.Connection, index: Index, old: Stored) -> None:
    paths = {id_: path for path, id_ in index.field_ids.items()}
    held = connection.execute(f"SELECT DISTINCT field FROM {index.values} WHERE doc = ?", (old.seq_no,)).fetchall()
    for (field_id,) in held:
        field: Field = index.mapping.fields[paths[field_id]]
        if field.is_text:
            connection.execute(f"DELETE FROM {index.text_table(field.path)} WHERE rowid = ?", (old.seq_no,))
    connection.execute(f"DELETE FROM {index.values} WHERE doc = ?", (old.seq_no,))
    connection.execute(f"DELETE FROM {index.docs} WHERE seq = ?", (old.seq_no,))


def _buried_version(connection: sqlite3.Connection, index: Index, doc_id: str) -> int:
    row = connection.execute(
        "SELECT version FROM tombstones WHERE index_id = ? AND id = ? AND at >= ?",
        (index.id, doc_id, time.time() - TOMBSTONE_SECONDS),
    ).fetchone()
    if row is None:
        return 0
    connection.execute("DELETE FROM tombstones WHERE index_id = ? AND id = ?", (index.id, doc_id))
    return int(row[0])


def _next_seq(connection: sqlite3.Connection, index: Index) -> int:
    connection.execute("UPDATE indices SET next_seq = next_seq + 1 WHERE id = ?", (index.id,))
    return int(connection.execute("SELECT next_seq FROM indices WHERE id = ?", (index.id,)).fetchone()[0]) - 1


def conflict(index: Index, doc_id: str, reason: str) -> EngineError:
    return EngineError(
        409,
        "version_conflict_engine_exception",
        f"[{doc_id}]: version conflict, {reason}",
        index_uuid=index.uuid,
        shard="0",
        index=index.name,
    )
