"""``_search``, ``_count`` and ``_delete_by_query``."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from embedded_elasticsearch import aggregations, documents, index_names, sorting
from embedded_elasticsearch.buckets import matched
from embedded_elasticsearch.documents import Stored
from embedded_elasticsearch.errors import EngineError, bad_request, invalid, parsing, unsupported
from embedded_elasticsearch.query import compile_query
from embedded_elasticsearch.request import Request, Response
from embedded_elasticsearch.search_request import MATCH_ALL, Search
from embedded_elasticsearch.sql_builder import Mark
from embedded_elasticsearch.store import Index
from embedded_elasticsearch.writer import Guard, Writer

MAX_WINDOW = 10_000  # index.max_result_window


def search(request: Request) -> Response:
    started = time.monotonic()
    search = Search.read(request.json(), request.query)
    with request.database.read(request.deadline) as connection:
        indices = index_names.resolve(connection, request.parts.get("index"), request.flag("ignore_unavailable"))
        answer = _Run(connection, indices, search).answer()
    shards = {"total": len(indices), "successful": len(indices), "skipped": 0, "failed": 0}
    took = int((time.monotonic() - started) * 1000)
    return Response(200, {"took": took, "timed_out": False, "_shards": shards, **answer})


@dataclass
class _Run:
    """One search on one state of the file."""

    connection: sqlite3.Connection
    indices: list[Index]
    search: Search
    marks: dict[int, dict[str, set[Mark]]] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        self._check_window()
        for index in self.indices:
            self._match(index)
        hits: dict[str, Any] = {}
        if self.search.counted is not False:
            hits["total"] = self._total()
        found = self._hits() if self.search.size else []
        hits["max_score"] = self._max_score()
        hits["hits"] = found
        answer: dict[str, Any] = {"hits": hits}
        if self.search.aggregations is not None:
            scopes = [matched(index) for index in self.indices]
            answer["aggregations"] = aggregations.aggregate(self.connection, scopes, self.search.aggregations)
        return answer

    def _check_window(self) -> None:
        end = self.search.start + self.search.size
        if end > MAX_WINDOW and self.indices:
            raise EngineError(
                400,
                "illegal_argument_exception",
                f"Result window is too large, from + size must be less than or equal to: [{MAX_WINDOW}] but was "
                f"[{end}]. See the scroll api for a more efficient way to request large data sets. This limit can be "
                "set by changing the [index.max_result_window] index level setting.",
                phase="query",
                index=self.indices[0].name,
            )

    def _match(self, index: Index) -> None:
        """Fill ``matched``, and ``passed`` where a post_filter leaves fewer of them."""
        plan = compile_query(self.connection, index, self.search.query, self.search.scored)
        self.marks[index.id] = plan.marks
        self._clear("matched", index)
        self.connection.execute(
            f"INSERT INTO temp.matched SELECT {index.id}, doc, score FROM ({plan.sql})",
            plan.parameters,
        )
        if self.search.post_filter is None:
            return
        after = compile_query(self.connection, index, self.search.post_filter, scored=False)
        self._clear("passed", index)
        self.connection.execute(
            f"INSERT INTO temp.passed SELECT idx, doc, score FROM temp.matched WHERE idx = {index.id}"
            f" AND doc IN (SELECT doc FROM ({after.sql}))",
            after.parameters,
        )

    def _clear(self, table: str, index: Index) -> None:
        # What an earlier search of this connection left behind, of whatever index.
        others = "" if index is self.indices[0] else f" WHERE idx = {index.id}"
        self.connection.execute(f"DELETE FROM temp.{table}{others}")

    @property
    def _table(self) -> str:
        return "temp.matched" if self.search.post_filter is None else "temp.passed"

    def _total(self) -> dict[str, Any]:
        if not self.indices:
            return {"value": 0, "relation": "eq"}
        count = int(self.connection.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0])
        limit = self.search.counted
        if limit is not None and count > limit:
            return {"value": limit, "relation": "gte"}
        return {"value": count, "relation": "eq"}

    def _max_score(self) -> float | None:
        if not self.indices:
            return 0.0
        if self.search.keys or not self.search.size:
            return None
        best: float | None = self.connection.execute(f"SELECT max(score) FROM {self._table}").fetchone()[0]
        return best

    def _hits(self) -> list[dict[str, Any]]:
        if not self.indices:
            return []
        parameters: list[Any] = []
        parts = [self._rows_of(index, parameters) for index in self.indices]
        where = ""
        if self.search.after is not None:
            where = f"WHERE {sorting.after(self.search.keys, self.indices, self.search.after, parameters)}"
        sql = (
            f"SELECT * FROM ({' UNION ALL '.join(parts)}) {where} ORDER BY {sorting.order_by(self.search.keys)}"
            " LIMIT ? OFFSET ?"
        )
        rows = self.connection.execute(sql, [*parameters, self.search.size, self.search.start]).fetchall()
        documents = self._documents(rows)
        by_id = {index.id: index for index in self.indices}
        return [self._hit(by_id[row[0]], documents[row[0], row[1]], row) for row in rows]

    def _rows_of(self, index: Index, parameters: list[Any]) -> str:
        columns = ["h.idx AS idx", "h.doc AS doc", "h.score AS score"]
        for number, key in enumerate(self.search.keys):
            columns.append(f"{sorting.expression(key, index, parameters)} AS k{number}")
        return f"SELECT {', '.join(columns)} FROM {self._table} h WHERE h.idx = {index.id}"

    def _documents(self, rows: list[Any]) -> dict[tuple[int, int], Stored]:
        loaded: dict[tuple[int, int], Stored] = {}
        for index in self.indices:
            seqs = [row[1] for row in rows if row[0] == index.id]
            for seq, stored in documents.load_many(self.connection, index, seqs).items():
                loaded[index.id, seq] = stored
        return loaded

    def _hit(self, index: Index, stored: Stored, row: Any) -> dict[str, Any]:
        hit: dict[str, Any] = {"_index": index.name, "_id": stored.id}
        if self.search.seq_no:
            hit.update({"_seq_no": stored.seq_no, "_primary_term": 1})
        hit["_score"] = row[2] if self.search.scored else None
        if stored.ignored:
            hit["_ignored"] = json.loads(stored.ignored)
        source = json.loads(stored.source)
        if self.search.source.is_enabled:
            hit["_source"] = self.search.source.apply(source)
        if self.search.highlight is not None:
            fragments = self.search.highlight.apply(index.mapping, self.marks[index.id], source)
            if fragments:
                hit["highlight"] = fragments
        if self.search.keys:
            keys = zip(self.search.keys, row[3:], strict=True)
            hit["sort"] = [sorting.sort_value(key, index, value) for key, value in keys]
        return hit


# Count and delete


def count(request: Request) -> Response:
    query = _query_of(request.json())
    total = 0
    with request.database.read(request.deadline) as connection:
        indices = index_names.resolve(connection, request.parts.get("index"), request.flag("ignore_unavailable"))
        for index in indices:
            plan = compile_query(connection, index, query, scored=False)
            total += connection.execute(f"SELECT count(*) FROM ({plan.sql})", plan.parameters).fetchone()[0]
    shards = {"total": len(indices), "successful": len(indices), "skipped": 0, "failed": 0}
    return Response(200, {"count": total, "_shards": shards})


def _query_of(body: dict[str, Any]) -> Any:
    for key in body:
        if key != "query":
            raise parsing(f"request does not support [{key}]")
    return body.get("query", MATCH_ALL)


def delete_by_query(request: Request) -> Response:
    started = time.monotonic()
    body = request.json(required=True)
    if "query" not in body:
        raise invalid("query is missing")
    query = _query_of(body)
    if request.query.get("conflicts", "abort") not in ("abort", "proceed"):
        raise bad_request(f'conflicts may only be "proceed" or "abort" but was [{request.query["conflicts"]}]')
    if not request.flag("wait_for_completion", True):
        raise unsupported("[wait_for_completion] false")
    deleted = 0
    with request.database.write() as connection:
        writer = Writer(connection)
        for index in index_names.resolve(connection, request.parts["index"], request.flag("ignore_unavailable")):
            deleted += _delete_matches(connection, writer, index, query)
    return Response(200, _deletion(int((time.monotonic() - started) * 1000), deleted))


def _delete_matches(connection: sqlite3.Connection, writer: Writer, index: Index, query: Any) -> int:
    plan = compile_query(connection, index, query, scored=False)
    sql = f"SELECT id FROM {index.docs} WHERE seq IN (SELECT doc FROM ({plan.sql}))"
    ids = [row[0] for row in connection.execute(sql, plan.parameters).fetchall()]
    for doc_id in ids:
        writer.delete(index.name, doc_id, Guard())
    return len(ids)


def _deletion(took: int, deleted: int) -> dict[str, Any]:
    return {
        "took": took,
        "timed_out": False,
        "total": deleted,
        "deleted": deleted,
        "batches": 1 if deleted else 0,
        "version_conflicts": 0,
        "noops": 0,
        "retries": {"bulk": 0, "search": 0},
        "throttled_millis": 0,
        "requests_per_second": -1.0,
        "throttled_until_millis": 0,
        "failures": [],
    }
