"""Indices and aliases in the SQLite file; documents.py has what is in them.

An index with id 3 has these tables: ``d3`` its documents, ``v3`` their exact values (field, value, document), and
``f3_17`` one FTS5 table per text field, so that BM25 counts per field as Lucene does. A document's row number is its
``_seq_no``: a document written again moves to the end, as it does in Elasticsearch.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from embedded_elasticsearch.errors import bad_request, no_such_index
from embedded_elasticsearch.mapping import Mapping, compile_mapping, normalized


@dataclass(frozen=True)
class Index:
    """One index as of the running transaction."""

    id: int
    name: str
    uuid: str
    created: int  # milliseconds since 1970
    mapping: Mapping
    mapping_version: int
    settings: dict[str, Any]
    field_ids: dict[str, int]

    @property
    def docs(self) -> str:
        return f"d{self.id}"

    @property
    def values(self) -> str:
        return f"v{self.id}"

    def text_table(self, path: str) -> str:
        return f"f{self.id}_{self.field_ids[path]}"


@lru_cache(maxsize=256)
def _compiled(uuid: str, version: int, mappings: str) -> Mapping:
    """Compiling costs more than any query: once per index and version is enough."""
    return compile_mapping(json.loads(mappings))


_COLUMNS = "id, name, uuid, created, mappings, mapping_version, settings"


def _index(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Index:
    id_, name, uuid, created, mappings, version, settings = row
    ids = dict(connection.execute("SELECT path, id FROM fields WHERE index_id = ?", (id_,)).fetchall())
    return Index(id_, name, uuid, created, _compiled(uuid, version, mappings), version, json.loads(settings), ids)


def indices(connection: sqlite3.Connection) -> list[Index]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM indices ORDER BY name").fetchall()
    return [_index(connection, row) for row in rows]


def find(connection: sqlite3.Connection, name: str) -> Index | None:
    """The index of exactly this name; aliases are not looked at."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM indices WHERE name = ?", (name,)).fetchone()
    return None if row is None else _index(connection, row)


def names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM indices ORDER BY name")]


def aliases(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(alias, index) of every alias, by name."""
    return connection.execute(
        "SELECT a.name, i.name FROM aliases a JOIN indices i ON i.id = a.index_id ORDER BY a.name, i.name"
    ).fetchall()


def targets(connection: sqlite3.Connection, alias: str) -> list[str]:
    """The indices of this alias; empty when there is none."""
    rows = connection.execute(
        "SELECT i.name FROM aliases a JOIN indices i ON i.id = a.index_id WHERE a.name = ? ORDER BY i.name",
        (alias,),
    )
    return [row[0] for row in rows]


# Changing indices


def create(connection: sqlite3.Connection, name: str, mappings: dict[str, Any], settings: dict[str, Any]) -> Index:
    """A new, empty index. The name must have been checked."""
    normal = normalized(mappings)
    cursor = connection.execute(
        "INSERT INTO indices (name, uuid, created, mappings, settings) VALUES (?, ?, ?, ?, ?)",
        (name, secrets.token_urlsafe(16), int(time.time() * 1000), json.dumps(normal), json.dumps(settings)),
    )
    id_ = cursor.lastrowid
    connection.execute(
        f"CREATE TABLE d{id_} (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,"
        " source TEXT NOT NULL, ignored TEXT)"
    )
    connection.execute(
        f"CREATE TABLE v{id_} (field INTEGER, value, doc INTEGER, PRIMARY KEY (field, value, doc)) WITHOUT ROWID"
    )
    connection.execute(f"CREATE INDEX v{id_}_doc ON v{id_} (doc, field)")
    index = find(connection, name)
    assert index is not None
    return _with_fields(connection, index)


def change_mapping(connection: sqlite3.Connection, index: Index, mapping: Mapping) -> Index:
    """Keep a mapping that has more fields than the one of ``index``."""
    normal = normalized(mapping.json)
    connection.execute(
        "UPDATE indices SET mappings = ?, mapping_version = mapping_version + 1 WHERE id = ?",
        (json.dumps(normal), index.id),
    )
    changed = replace(index, mapping=compile_mapping(normal), mapping_version=index.mapping_version + 1)
    return _with_fields(connection, changed)


def _with_fields(connection: sqlite3.Connection, index: Index) -> Index:
    """Give every field of the mapping its number, and every text field its FTS5 table."""
    ids = dict(index.field_ids)
    for path, field in index.mapping.fields.items():
        if path in ids:
            continue
        ids[path] = _field_id(connection, index.id, path)
        if field.is_text and field.index:
            connection.execute(f"CREATE VIRTUAL TABLE f{index.id}_{ids[path]} USING fts5(text, tokenize = 'ascii')")
    return replace(index, field_ids=ids)


def _field_id(connection: sqlite3.Connection, index_id: int, path: str) -> int:
    cursor = connection.execute("INSERT INTO fields (index_id, path) VALUES (?, ?)", (index_id, path))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def drop(connection: sqlite3.Connection, index: Index) -> None:
    for path, field in index.mapping.fields.items():
        if field.is_text and field.index:
            connection.execute(f"DROP TABLE {index.text_table(path)}")
    connection.execute(f"DROP TABLE {index.values}")
    connection.execute(f"DROP TABLE {index.docs}")
    for table in ("aliases", "fields", "tombstones"):
        connection.execute(f"DELETE FROM {table} WHERE index_id = ?", (index.id,))
    connection.execute("DELETE FROM indices WHERE id = ?", (index.id,))


def add_alias(connection: sqlite3.Connection, alias: str, index: Index) -> None:
    connection.execute("INSERT OR REPLACE INTO aliases (name, index_id) VALUES (?, ?)", (alias, index.id))


def remove_alias(connection: sqlite3.Connection, alias: str, index: Index) -> bool:
    """False when the index has no such alias."""
    found = connection.execute("DELETE FROM aliases WHERE name = ? AND index_id = ?", (alias, index.id))
    return found.rowcount > 0


def for_writing(connection: sqlite3.Connection, name: str) -> Index | None:
    """The one index that a document sent to ``name`` goes to; None when there is neither index nor alias."""
    index = find(connection, name)
    if index is not None:
        return index
    pointed = targets(connection, name)
    if len(pointed) > 1:
        raise bad_request(f"no write index is defined for alias [{name}], which points to {', '.join(pointed)}")
    return find(connection, pointed[0]) if pointed else None


def for_reading_one(connection: sqlite3.Connection, name: str) -> Index:
    """The one index that a document is read from. Raises 404 when there is none, 400 when there are several."""
    index = find(connection, name)
    if index is not None:
        return index
    pointed = targets(connection, name)
    if not pointed:
        raise no_such_index(name)
    if len(pointed) > 1:
        raise bad_request(
            f"alias [{name}] has more than one index associated with it [{', '.join(pointed)}], "
            "can't execute a single index op"
        )
    found = find(connection, pointed[0])
    assert found is not None
    return found
