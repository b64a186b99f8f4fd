"""Elasticsearch's query language into SQL.

Every clause becomes one common table expression with the columns ``doc`` and ``score``; a compound clause reads those
of its parts. Named expressions instead of nested ones keep SQLite's parser flat, however deep the query is.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from graft.search.embedded import dates
from graft.search.embedded.analysis import fts_token
from graft.search.embedded.documents import convert, number, printable
from graft.search.embedded.errors import (
    EngineError,
    bad_request,
    kind_of,
    only,
    parsing,
    shard_error,
    unreadable,
    unsupported,
)
from graft.search.embedded.mapping import Field
from graft.search.embedded.minimum import required
from graft.search.embedded.store import Index

MAX_CLAUSES = 1024  # indices.query.bool.max_clause_count
MAX_DEPTH = 30  # indices.query.bool.max_nested_depth
MAX_TERMS = 65536  # index.max_terms_count
_ARMS = 400  # SQLite takes 500 parts in one UNION
_LIST = "(SELECT value FROM json_each(?))"  # a list of any length as one parameter


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


def compile_query(connection: sqlite3.Connection, index: Index, query: Any, scored: bool = True) -> Plan:
    """The plan of this query on this index. Raises a 400 that names what the engine or the mapping does not know."""
    compiler = _Compiler(connection, index)
    compiler.plan.result = compiler.compile(query, _Context(scored))
    return compiler.plan


@dataclass(frozen=True)
class _Context:
    """``scored``: does anybody read the score? ``marking``: are matches highlighted (not those of must_not)?"""

    scored: bool = True
    marking: bool = True
    depth: int = 0

    def inside(self, scored: bool | None = None, marking: bool | None = None) -> _Context:
        return _Context(
            self.scored if scored is None else scored and self.scored,
            self.marking if marking is None else marking and self.marking,
            self.depth + 1,
        )


class _Compiler:
    def __init__(self, connection: sqlite3.Connection, index: Index) -> None:
        self.plan = Plan()
        self._connection = connection
        self._index = index
        self._clauses = 0
        self._statistics: dict[tuple[str, str], tuple[float, float]] = {}

    def compile(self, query: Any, context: _Context) -> str:
        """The name of the expression that has the matches of ``query``."""
        if not isinstance(query, dict):
            raise parsing(f"[_na] query malformed, must start with start_object, found {kind_of(query)}")
        if not query:
            raise bad_request("query malformed, empty clause found")
        if len(query) > 1:
            first, second, *_ = query
            raise parsing(f"[{first}] malformed query, expected [END_OBJECT] but found [{second}]")
        ((kind, body),) = query.items()
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise parsing(f"unknown query [{kind}] in the embedded search engine, which has {', '.join(_HANDLERS)}")
        if context.depth > MAX_DEPTH:
            raise bad_request(f"The nested depth of the query exceeds the maximum nested depth allowed, [{MAX_DEPTH}]")
        return handler(self, body, context)

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

    def mark(self, target: Field, mark: Mark, context: _Context) -> None:
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

    def match_tokens(self, target: Field, tokens: list[str], need: int, score: float, context: _Context) -> str:
        """Documents that have at least ``need`` of the tokens, with the sum of their scores."""
        for token in tokens:
            self.mark(target, Mark((token,)), context)
        names = [self.token(target, token, score, context) for token in tokens]
        if len(names) == 1:
            return names[0]
        union = self.union([f"SELECT doc, score FROM {name}" for name in names])
        return self.emit(f"SELECT doc, SUM(score) AS score FROM ({union}) GROUP BY doc HAVING COUNT(*) >= ?", need)

    def token(self, target: Field, token: str, boost: float, context: _Context) -> str:
        return self.full_text(target, f'"{fts_token(token)}"', [token], boost, context.scored)

    def phrase(self, target: Field, tokens: list[str], boost: float, context: _Context) -> str:
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

    def exactly(self, target: Field, value: Any, boost: float, context: _Context) -> str:
        """Documents whose field is ``value``, as a term query finds them."""
        if target.is_text:
            token = printable(value)
            self.mark(target, Mark((token,)), context)
            return self.token(target, token, boost, context)
        if target.type == "date":
            return self.between(target, *self._instants(value, target.format), boost)
        found = self._converted(target, value)
        if target.type == "keyword":
            self.mark(target, Mark((str(found),)), context)
        if target.type in ("keyword", "boolean"):
            boost *= self._rarity(target, found) if context.scored else 1.0
        return self.values(target, "value = ?", found, score=boost)

    def between(self, target: Field, low: Any, high: Any, boost: float) -> str:
        return self.values(target, "value BETWEEN ? AND ?", low, high, score=boost)

    def _converted(self, target: Field, value: Any) -> Any:
        if target.type in ("keyword", "boolean", "float", "double"):
            return self._checked(lambda: convert(target, value))
        # 5.0 is a whole number; a broken one, or one too large for the field, matches nothing, as in Elasticsearch.
        found = self._checked(lambda: number(value))
        return int(found) if abs(found) < 2**63 and found == int(found) else None

    def _instants(self, value: Any, date_format: str) -> tuple[int, int]:
        try:
            return dates.resolve(value, date_format)
        except ValueError as error:
            raise EngineError(400, "parse_exception", str(error), phase="query", index=self._index.name) from None

    def _checked(self, convert_value: Callable[[], Any]) -> Any:
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

    # Queries

    def query_match_all(self, body: Any, context: _Context) -> str:
        return self.everything(_boost(only(body, frozenset({"boost"}), "match_all"), "match_all"))

    def query_match_none(self, body: Any, context: _Context) -> str:
        _boost(only(body, frozenset({"boost"}), "match_none"), "match_none")
        return self.nothing()

    def query_match(self, body: Any, context: _Context) -> str:
        path, options = _one_field(body, "match", "query", _MATCH)
        return self._match_field(self.mapped(path, "match"), options, _boost(options, "match"), "match", context)

    def _match_field(
        self, target: Field | None, options: dict[str, Any], boost: float, where: str, context: _Context
    ) -> str:
        text = _scalar(options, "query", where)
        if target is None:
            return self.nothing()
        if not target.is_text:
            return self._leniently(options, lambda: self.exactly(target, text, boost, context))
        tokens = [token.text for token in target.analyze_query(printable(text))]
        if not tokens:
            return (
                self.everything(1.0)
                if _choice(options, "zero_terms_query", ("none", "all"), where) == "all"
                else self.nothing()
            )
        if _choice(options, "operator", ("or", "and"), where) == "and":
            need = len(tokens)
        else:
            need = max(1, required(options.get("minimum_should_match", 1), len(tokens)))
        return self.match_tokens(target, tokens, need, boost, context)

    def _leniently(self, options: dict[str, Any], build: Callable[[], str]) -> str:
        try:
            return build()
        except EngineError:
            if _flag(options, "lenient"):
                return self.nothing()
            raise

    def query_match_phrase(self, body: Any, context: _Context) -> str:
        path, options = _one_field(body, "match_phrase", "query", _PHRASE)
        if options.get("slop", 0) != 0:
            raise unsupported("[match_phrase] with a [slop]")
        target = self.mapped(path, "match_phrase")
        return self._phrase_field(target, options, _boost(options, "match_phrase"), "match_phrase", context)

    def _phrase_field(
        self, target: Field | None, options: dict[str, Any], boost: float, where: str, context: _Context
    ) -> str:
        text = _scalar(options, "query", where)
        if target is None:
            return self.nothing()
        if not target.is_text:
            return self._leniently(options, lambda: self.exactly(target, text, boost, context))
        tokens = [token.text for token in target.analyze_query(printable(text))]
        return self.phrase(target, tokens, boost, context) if tokens else self.nothing()

    def query_multi_match(self, body: Any, context: _Context) -> str:
        options = only(body, _MULTI_MATCH, "multi_match")
        kind = _choice(options, "type", ("best_fields", "most_fields", "phrase"), "multi_match")
        boost = _boost(options, "multi_match")
        build = self._phrase_field if kind == "phrase" else self._match_field
        names = []
        for path, weight in _weighted_fields(options):
            target = self.mapped(path, "multi_match")
            names.append(build(target, options, boost * weight, "multi_match", context))
        tie = 1.0 if kind == "most_fields" else _number(options, "tie_breaker", 0.0, "multi_match")
        return self._best_of(names, tie)

    def query_dis_max(self, body: Any, context: _Context) -> str:
        options = only(body, frozenset({"queries", "tie_breaker", "boost"}), "dis_max")
        queries = options.get("queries")
        if not isinstance(queries, list) or not queries:
            raise parsing("[dis_max] requires 'queries' field with at least one clause")
        names = [self.compile(query, context.inside()) for query in queries]
        best = self._best_of(names, _number(options, "tie_breaker", 0.0, "dis_max"))
        return self.boosted(best, _boost(options, "dis_max"))

    def _best_of(self, names: list[str], tie: float) -> str:
        """The best score of a document, and ``tie`` of its other ones."""
        if len(names) == 1:
            return names[0]
        union = self.union([f"SELECT doc, score FROM {name}" for name in names])
        return self.emit(
            f"SELECT doc, MAX(score) * (1 - ?) + SUM(score) * ? AS score FROM ({union}) GROUP BY doc", tie, tie
        )

    def query_constant_score(self, body: Any, context: _Context) -> str:
        options = only(body, frozenset({"filter", "boost"}), "constant_score")
        if "filter" not in options:
            raise parsing("[constant_score] requires a 'filter' element")
        name = self.compile(options["filter"], context.inside(scored=False))
        return self.emit(f"SELECT doc, ? AS score FROM {name}", _boost(options, "constant_score"))

    def query_bool(self, body: Any, context: _Context) -> str:
        options = only(body, _BOOL, "bool", unreadable)
        must = self._clauses_of(options, "must", context.inside())
        filters = self._clauses_of(options, "filter", context.inside(scored=False))
        should = self._clauses_of(options, "should", context.inside())
        must_not = self._clauses_of(options, "must_not", context.inside(scored=False, marking=False))
        boost = _boost(options, "bool")
        need = self._should_need(options, len(should), bool(must or filters))
        if not must and not filters and not should:
            base = self.everything(0.0 if must_not else boost)
        else:
            base = self.boosted(self._combined(must, filters, should, need), boost)
        return self._without(base, must_not)

    def _clauses_of(self, options: dict[str, Any], name: str, context: _Context) -> list[str]:
        given = options.get(name, [])
        return [self.compile(query, context) for query in (given if isinstance(given, list) else [given])]

    def _should_need(self, options: dict[str, Any], clauses: int, others: bool) -> int:
        if not clauses:
            return 0
        if "minimum_should_match" in options:
            return max(required(options["minimum_should_match"], clauses), 0 if others else 1)
        return 0 if others else 1

    def _combined(self, must: list[str], filters: list[str], should: list[str], need: int) -> str:
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

    def _without(self, base: str, excluded: list[str]) -> str:
        if not excluded:
            return base
        conditions = " AND ".join(f"doc NOT IN (SELECT doc FROM {name})" for name in excluded)
        return self.emit(f"SELECT doc, score FROM {base} WHERE {conditions}")

    def query_term(self, body: Any, context: _Context) -> str:
        path, options = _one_field(body, "term", "value", frozenset({"value", "boost"}))
        value, boost = _scalar(options, "value", "term"), _boost(options, "term")
        if path == "_id":
            return self._with_ids([value], boost)
        target = self.mapped(path, "term")
        return self.nothing() if target is None else self.exactly(target, value, boost, context)

    def query_terms(self, body: Any, context: _Context) -> str:
        given = dict(only(body, _Anything(), "terms"))
        boost = _boost(given, "terms")
        given.pop("boost", None)
        if len(given) != 1:
            raise parsing("[terms] query requires exactly one field with an array of values")
        ((path, wanted),) = given.items()
        if isinstance(wanted, dict):
            raise unsupported("[terms] lookup")
        if not isinstance(wanted, list):
            raise parsing(f"[terms] query does not support [{path}] that is {kind_of(wanted)}, it must be an array")
        if len(wanted) > MAX_TERMS:
            raise bad_request(
                f"The number of terms [{len(wanted)}] used in the Terms Query request has exceeded "
                f"the allowed maximum of [{MAX_TERMS}]"
            )
        if path == "_id":
            return self._with_ids(wanted, boost)
        target = self.mapped(path, "terms")
        return self.nothing() if target is None else self._any_of(target, wanted, boost, context)

    def _any_of(self, target: Field, wanted: list[Any], boost: float, context: _Context) -> str:
        unscored = context.inside(scored=False)
        if target.is_text or target.type == "date":
            names = [self.exactly(target, value, boost, unscored) for value in wanted]
            if not names:
                return self.nothing()
            union = self.union([f"SELECT doc FROM {name}" for name in names])
            return self.emit(f"SELECT DISTINCT doc, ? AS score FROM ({union})", boost)
        found = [self._converted(target, value) for value in wanted]
        if target.type == "keyword":
            for value in found:
                self.mark(target, Mark((str(value),)), context)
        return self.values(target, f"value IN {_LIST}", json.dumps(found), score=boost)

    def query_range(self, body: Any, context: _Context) -> str:
        path, options = _one_field(body, "range", None, _RANGE)
        target = self.mapped(path, "range")
        boost = _boost(options, "range")
        if target is None:
            return self.nothing()
        if target.is_text:
            raise unsupported(f"[range] on the text field [{path}]")
        conditions, parameters = ["1"], []
        for bound, operator in _OPERATORS.items():
            if options.get(bound) is not None:
                conditions.append(f"value {operator} ?")
                parameters.append(self._bound(target, bound, options))
        return self.values(target, " AND ".join(conditions), *parameters, score=boost)

    def _bound(self, target: Field, bound: str, options: dict[str, Any]) -> Any:
        value = _scalar(options, bound, "range")
        if target.type == "date":
            date_format = options.get("format", target.format)
            if date_format not in dates.FORMATS:
                raise unsupported(f"date format [{date_format}]")
            first, last = self._instants(value, date_format)
            # An open value reaches to its end where it bounds from below with gt, or from above with lte.
            return last if bound in ("gt", "lte") else first
        if "format" in options:
            raise parsing(f"[range] format is only for dates, [{target.path}] is of type [{target.type}]")
        if target.type == "keyword":
            return printable(value)
        if target.type in ("boolean", "float"):
            return self._checked(lambda: convert(target, value))
        found = self._checked(lambda: number(value))
        return found if abs(found) < 2**63 else float(found)

    def query_exists(self, body: Any, context: _Context) -> str:
        options = only(body, frozenset({"field", "boost"}), "exists")
        path, boost = options.get("field"), _boost(options, "exists")
        if not isinstance(path, str) or not path:
            raise parsing("[exists] must be provided with a [field]")
        if path.startswith("_"):
            raise unsupported(f"[exists] on the metadata field [{path}]")
        ids = [self._index.field_ids[target.path] for target in self._index.mapping.below(path)]
        sql = f"SELECT DISTINCT doc, ? AS score FROM {self._index.values} WHERE field IN {_LIST}"
        return self.emit(sql, boost, json.dumps(ids))

    def query_ids(self, body: Any, context: _Context) -> str:
        options = only(body, frozenset({"values", "boost"}), "ids")
        values = options.get("values", [])
        return self._with_ids(values if isinstance(values, list) else [values], _boost(options, "ids"))

    def _with_ids(self, values: Iterable[Any], boost: float) -> str:
        wanted = [printable(value) for value in values]
        sql = f"SELECT seq AS doc, ? AS score FROM {self._index.docs} WHERE id IN {_LIST}"
        return self.emit(sql, boost, json.dumps(wanted))

    def query_prefix(self, body: Any, context: _Context) -> str:
        path, options = _one_field(body, "prefix", "value", frozenset({"value", "boost"}))
        start, boost = printable(_scalar(options, "value", "prefix")), _boost(options, "prefix")
        target = self.mapped(path, "prefix")
        if target is None:
            return self.nothing()
        self.mark(target, Mark(prefix=start), context)
        if target.type == "keyword":
            return self.values(target, "value >= ? AND substr(value, 1, ?) = ?", start, len(start), start, score=boost)
        if not target.is_text:
            raise shard_error(
                self._index.name,
                "Can only use prefix queries on keyword, text and wildcard fields - "
                f"not on [{path}] which is of type [{target.type}]",
            )
        table = self._index.text_table(path)
        if not start:
            return self.emit(f"SELECT rowid AS doc, ? AS score FROM {table}", boost)
        sql = f"SELECT rowid AS doc, ? AS score FROM {table} WHERE {table} MATCH ?"
        return self.emit(sql, boost, f'"{fts_token(start)}" *')


_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_TEXT_OPTIONS = {"query", "boost", "zero_terms_query", "lenient"}
_MATCH = frozenset(_TEXT_OPTIONS | {"operator", "minimum_should_match"})
_PHRASE = frozenset({"query", "boost", "slop"})
_MULTI_MATCH = frozenset(_MATCH | {"fields", "type", "tie_breaker"})
_BOOL = frozenset({"must", "filter", "should", "must_not", "minimum_should_match", "boost"})
_RANGE = frozenset({*_OPERATORS, "boost", "format"})

_Handler = Callable[[_Compiler, Any, _Context], str]
_HANDLERS: dict[str, _Handler] = {
    "match_all": _Compiler.query_match_all,
    "match_none": _Compiler.query_match_none,
    "match": _Compiler.query_match,
    "match_phrase": _Compiler.query_match_phrase,
    "multi_match": _Compiler.query_multi_match,
    "bool": _Compiler.query_bool,
    "dis_max": _Compiler.query_dis_max,
    "constant_score": _Compiler.query_constant_score,
    "term": _Compiler.query_term,
    "terms": _Compiler.query_terms,
    "range": _Compiler.query_range,
    "exists": _Compiler.query_exists,
    "ids": _Compiler.query_ids,
    "prefix": _Compiler.query_prefix,
}


class _Anything(frozenset[str]):
    """Every key is allowed: they are field names."""

    def __contains__(self, key: object) -> bool:
        return True


def _one_field(body: Any, where: str, short: str | None, allowed: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """``{"field": {options}}`` or, where ``short`` names the option that is meant, ``{"field": value}``."""
    if not isinstance(body, dict) or not body:
        raise parsing(f"[{where}] needs one field, found {kind_of(body) if not body else 'none'}")
    if len(body) > 1:
        first, second, *_ = body
        raise parsing(f"[{where}] query doesn't support multiple fields, found [{first}] and [{second}]")
    ((path, options),) = body.items()
    if not isinstance(options, dict):
        if short is None:
            raise parsing(f"[{where}] on [{path}] must be an object, found {kind_of(options)}")
        options = {short: options}
    return path, only(options, allowed, where)


def _scalar(options: dict[str, Any], name: str, where: str) -> Any:
    value = options.get(name)
    if value is None:
        error = bad_request if where == "term" else parsing
        raise error(f"[{where}] {name} cannot be null or missing")
    if isinstance(value, (dict, list)):
        error = parsing if where == "term" else bad_request
        raise error(f"[{where}] [{name}] must be a value, found {kind_of(value)}")
    return value


def _number(options: dict[str, Any], name: str, default: float, where: str) -> float:
    value = options.get(name, default)
    try:
        if isinstance(value, (bool, dict, list)) or value is None:
            raise ValueError
        number = float(value)
    except ValueError:
        raise parsing(f"[{where}] [{name}] must be a number, found [{value}]") from None
    if not math.isfinite(number) or number < 0:
        raise bad_request(f"negative [{name}] are not allowed in [{where}], use a value between 0 and 1")
    return number


def _boost(options: dict[str, Any], where: str) -> float:
    return _number(options, "boost", 1.0, where)


def _flag(options: dict[str, Any], name: str) -> bool:
    value = options.get(name, False)
    if value not in (True, False, "true", "false"):
        raise bad_request(f"Failed to parse value [{value}] of [{name}] as only [true] or [false] are allowed.")
    return value in (True, "true")


def _choice(options: dict[str, Any], name: str, choices: tuple[str, ...], where: str) -> str:
    """One of the choices, of which the first is the default."""
    value = options.get(name, choices[0])
    if not isinstance(value, str) or value.lower() not in choices:
        raise unsupported(f"[{name}] [{value}] in [{where}], only {' and '.join(choices)}")
    return value.lower()


def _weighted_fields(options: dict[str, Any]) -> list[tuple[str, float]]:
    given = options.get("fields")
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise unsupported("[multi_match] without [fields]")
    weighted = []
    for name in names:
        if not isinstance(name, str) or "*" in name:
            raise unsupported(f"[multi_match] on the fields [{name}]")
        path, _, weight = name.partition("^")
        weighted.append((path, _number({"boost": weight or 1.0}, "boost", 1.0, "multi_match")))
    return weighted
