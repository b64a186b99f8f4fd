"""The SQL of a query as it is built: named expressions, and the pieces that clauses are made of."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.analysis import fts_token
from embedded_elasticsearch.document_parser import convert, number, printable
from embedded_elasticsearch.errors import EngineError, kind_of, parsing, shard_error, unsupported
from embedded_elasticsearch.mapping import Field
from embedded_elasticsearch.store import Index

MAX_CLAUSES = 1024  # indices.query.bool.max_clause_count
_ARMS = 400  # SQLite takes 500 parts in one UNION
LIST = "(SELECT value FROM json_each(?))"  # a list of any length as one parameter


@dataclass(frozen=True)
class Mark:
    """Something to highlight in a field: the words of a phrase in a row, or one that starts with ``prefix``."""

    words: tuple[str, ...] = ()
    prefix: str | None = None


@dataclass
class Plan:
    """A query over one index as SQL: ``WITH {expressions} SELECT doc, score FROM {result}``."""

    expressions: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)
    result: str = ""
    marks: dict[str, set[Mark]] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        return f"WITH {', '.join(self.expressions)} SELECT doc, score FROM {self.result}"


@dataclass(frozen=True)
class Context:
    """``scored``: does anybody read the score? ``marking``: are matches highlighted (not those of must_not)?"""

    scored: bool = True
    marking: bool = True
    depth: int = 0

    def inside(self, scored: bool | None = None, marking: bool | None = None) -> Context:
        return Context(
            self.scored if scored is None else scored and self.scored,
            self.marking if marking is None else marking and self.marking,
            self.depth + 1,
        )


class Builder:
    """Collects the expressions of one query on one index."""

    def __init__(self, connection: sqlite3.Connection, index: Index) -> None:
        self.plan = Plan()
        self._connection = connection
        self._index = index
        self._clauses = 0
        self._statistics: dict[tuple[str, str], tuple[float, float]] = {}

    # Building blocks

    def emit(self, sql: str, *parameters: Any) -> str:
        self._clauses += 1
        if self._clauses > MAX_CLAUSES * 2:
            raise EngineError(
                400,
                "too_many_nested_clauses",
                f"Query contains too many nested clauses; maxClauseCount is set to {MAX_CLAUSES}",
                phase="query",
                index=self._index.name,
            )
        name = f"q{len(self.plan.expressions)}"
        self.plan.expressions.append(f"{name} AS MATERIALIZED ({sql})")
        self.plan.parameters.extend(parameters)
        return name

    def nothing(self) -> str:
        return self.emit("SELECT 0 AS doc, 0.0 AS score WHERE 0")

    def everything(self, score: float) -> str:
        return self.emit(f"SELECT seq AS doc, ? AS score FROM {self._index.docs}", score)

    def union(self, arms: list[str]) -> str:
        """``SELECT`` statements one below the other, however many there are."""
        if len(arms) <= _ARMS:
            return " UNION ALL ".join(arms)
        chunks = [arms[start : start + _ARMS] for start in range(0, len(arms), _ARMS)]
        return self.union([f"SELECT * FROM {self.emit(' UNION ALL '.join(chunk))}" for chunk in chunks])

    def boosted(self, name: str, boost: float) -> str:
        return name if boost == 1.0 else self.emit(f"SELECT doc, score * ? AS score FROM {name}", boost)

    def values(self, target: Field, condition: str, *parameters: Any, score: float) -> str:
        sql = f"SELECT DISTINCT doc, ? AS score FROM {self._index.values} WHERE field = ? AND {condition}"
        return self.emit(sql, score, self._index.field_ids[target.path], *parameters)

    def best_of(self, names: list[str], tie: float) -> str:
        """The best score of a document, and ``tie`` of its other ones."""
        if len(names) == 1:
            return names[0]
        union = self.union([f"SELECT doc, score FROM {name}" for name in names])
        return self.emit(
            f"SELECT doc, MAX(score) * (1 - ?) + SUM(score) * ? AS score FROM ({union}) GROUP BY doc", tie, tie
        )

    def combined(self, must: list[str], filters: list[str], should: list[str], need: int) -> str:
        if len(must) == 1 and not filters and not should:
            return must[0]
        arms = [f"SELECT doc, score, 1 AS must, 0 AS should FROM {name}" for name in must]
        arms += [f"SELECT doc, 0.0 AS score, 1 AS must, 0 AS should FROM {name}" for name in filters]
        arms += [f"SELECT doc, score, 0 AS must, 1 AS should FROM {name}" for name in should]
        return self.emit(
            f"SELECT doc, SUM(score) AS score FROM ({self.union(arms)}) GROUP BY doc"
            " HAVING SUM(must) = ? AND SUM(should) >= ?",
            len(must) + len(filters),
            need,
        )

    def without(self, base: str, excluded: list[str]) -> str:
        if not excluded:
            return base
        conditions = " AND ".join(f"doc NOT IN (SELECT doc FROM {name})" for name in excluded)
        return self.emit(f"SELECT doc, score FROM {base} WHERE {conditions}")

    def with_ids(self, values: Iterable[Any], boost: float) -> str:
        terms = [printable(value) for value in values]
        sql = f"SELECT seq AS doc, ? AS score FROM {self._index.docs} WHERE id IN {LIST}"
        return self.emit(sql, boost, json.dumps(terms))

    def mark(self, target: Field, mark: Mark, context: Context) -> None:
        if context.marking:
            self.plan.marks.setdefault(target.path, set()).add(mark)

    def mapped(self, path: Any, where: str) -> Field | None:
        """The field of this path, None when the mapping has none: a query on it matches nothing."""
        if not isinstance(path, str):
            raise parsing(f"[{where}] needs a field name, found {kind_of(path)}")
        target = self._index.mapping.fields.get(path)
        if target is None:
            if path.startswith("_"):
                raise unsupported(f"[{where}] on the metadata field [{path}]")
            return None
        if target.is_text and not target.index:
            raise shard_error(
                self._index.name, f"failed to create query: Cannot search on field [{path}] since it is not indexed."
            )
        return target

    # Text

    def match_tokens(self, target: Field, tokens: list[str], need: int, score: float, context: Context) -> str:
        """Documents that have at least ``need`` of the tokens, with the sum of their scores."""
        for token in tokens:
            self.mark(target, Mark((token,)), context)
        names = [self.token(target, token, score, context) for token in tokens]
        if len(names) == 1:
            return names[0]
        union = self.union([f"SELECT doc, score FROM {name}" for name in names])
        return self.emit(f"SELECT doc, SUM(score) AS score FROM ({union}) GROUP BY doc HAVING COUNT(*) >= ?", need)

    def token(self, target: Field, token: str, boost: float, context: Context) -> str:
        return self.full_text(target, f'"{fts_token(token)}"', [token], boost, context.scored)

    def phrase(self, target: Field, tokens: list[str], boost: float, context: Context) -> str:
        self.mark(target, Mark(tuple(tokens)), context)
        phrase = " ".join(fts_token(token) for token in tokens)
        return self.full_text(target, f'"{phrase}"', tokens, boost, context.scored)

    def full_text(self, target: Field, expression: str, tokens: list[str], boost: float, scored: bool) -> str:
        table = self._index.text_table(target.path)
        if not scored:
            return self.emit(f"SELECT rowid AS doc, 0.0 AS score FROM {table} WHERE {table} MATCH ?", expression)
        factor = boost * self._rescale(table, expression, tokens)
        sql = f"SELECT rowid AS doc, -bm25({table}) * ? AS score FROM {table} WHERE {table} MATCH ?"
        return self.emit(sql, factor, expression)

    def _rescale(self, table: str, expression: str, tokens: list[str]) -> float:
        """From FTS5's inverse document frequency to Lucene's: the rest of BM25 is the same in both."""
        theirs = 0.0
        for token in tokens:
            total, hits = self._frequency(table, f'"{fts_token(token)}"')
            theirs += math.log(1 + (total - hits + 0.5) / (hits + 0.5))
        total, hits = self._frequency(table, expression)
        ours = math.log((total - hits + 0.5) / (hits + 0.5))
        return theirs / (ours if ours > 0 else 1e-6)

    def _frequency(self, table: str, expression: str) -> tuple[float, float]:
        """How many documents have the field, and how many of them match."""
        key = (table, expression)
        if key not in self._statistics:
            (total,) = self._connection.execute(f"SELECT count(*) FROM {table}_docsize").fetchone()
            (hits,) = self._connection.execute(
                f"SELECT count(*) FROM {table} WHERE {table} MATCH ?", (expression,)
            ).fetchone()
            self._statistics[key] = (total, hits)
        return self._statistics[key]

    # Exact values

    def exactly(self, target: Field, value: Any, boost: float, context: Context) -> str:
        """Documents whose field is ``value``, as a term query finds them."""
        if target.is_text:
            token = printable(value)
            self.mark(target, Mark((token,)), context)
            return self.token(target, token, boost, context)
        if target.type == "date":
            return self.between(target, *self.instants(value, target.format), boost)
        found = self.converted(target, value)
        if target.type == "keyword":
            self.mark(target, Mark((str(found),)), context)
        if target.type in ("keyword", "boolean"):
            boost *= self._rarity(target, found) if context.scored else 1.0
        return self.values(target, "value = ?", found, score=boost)

    def between(self, target: Field, low: Any, high: Any, boost: float) -> str:
        return self.values(target, "value BETWEEN ? AND ?", low, high, score=boost)

    def converted(self, target: Field, value: Any) -> Any:
        if target.type in ("keyword", "boolean", "float", "double"):
            return self.checked(lambda: convert(target, value))
        # 5.0 is a whole number; a broken one, or one too large for the field, matches nothing, as in Elasticsearch.
        found = self.checked(lambda: number(value))
        return int(found) if abs(found) < 2**63 and found == int(found) else None

    def instants(self, value: Any, date_format: str) -> tuple[int, int]:
        try:
            return dates.resolve(value, date_format)
        except ValueError as error:
            raise EngineError(400, "parse_exception", str(error), phase="query", index=self._index.name) from None

    def checked(self, convert_value: Callable[[], Any]) -> Any:
        try:
            return convert_value()
        except ValueError as error:
            cause = {"type": "illegal_argument_exception", "reason": str(error)}
            raise shard_error(self._index.name, f"failed to create query: {error}", caused_by=cause) from None

    def _rarity(self, target: Field, value: Any) -> float:
        """Lucene's score of an exact value: its inverse document frequency, since it has no length and occurs once."""
        field_id = self._index.field_ids[target.path]
        table = self._index.values
        (total,) = self._connection.execute(
            f"SELECT count(DISTINCT doc) FROM {table} WHERE field = ?", (field_id,)
        ).fetchone()
        (hits,) = self._connection.execute(
            f"SELECT count(*) FROM {table} WHERE field = ? AND value = ?", (field_id, value)
        ).fetchone()
        return math.log(1 + (total - hits + 0.5) / (hits + 0.5))
