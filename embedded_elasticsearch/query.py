"""Elasticsearch's query language into SQL.

Every clause becomes one common table expression with the columns ``doc`` and ``score``; a compound clause reads those
of its parts. Named expressions instead of nested ones keep SQLite's parser flat, however deep the query is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from embedded_elasticsearch import dates
from embedded_elasticsearch.analysis import fts_token
from embedded_elasticsearch.document_parser import convert, number, printable
from embedded_elasticsearch.errors import (
    EngineError,
    bad_request,
    kind_of,
    only,
    parsing,
    shard_error,
    unreadable,
    unsupported,
)
from embedded_elasticsearch.mapping import Field
from embedded_elasticsearch.query_options import (
    AnyName,
    boost_of,
    choice,
    decimal,
    flag,
    one_field,
    required,
    scalar,
    weighted_fields,
)
from embedded_elasticsearch.sql_builder import LIST, Builder, Context, Mark, Plan
from embedded_elasticsearch.store import Index

MAX_DEPTH = 30  # indices.query.bool.max_nested_depth
MAX_TERMS = 65536  # index.max_terms_count


def compile_query(connection: sqlite3.Connection, index: Index, query: Any, scored: bool = True) -> Plan:
    """The plan of this query on this index. Raises a 400 that names what the engine or the mapping does not know."""
    compiler = _Compiler(connection, index)
    compiler.plan.result = compiler.compile(query, Context(scored))
    return compiler.plan


class _Compiler(Builder):
    def compile(self, query: Any, context: Context) -> str:
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

    def query_match_all(self, body: Any, context: Context) -> str:
        return self.everything(boost_of(only(body, frozenset({"boost"}), "match_all"), "match_all"))

    def query_match(self, body: Any, context: Context) -> str:
        path, options = one_field(body, "match", "query", _MATCH)
        return self._match_field(self.mapped(path, "match"), options, boost_of(options, "match"), "match", context)

    def _match_field(
        self, target: Field | None, options: dict[str, Any], boost: float, where: str, context: Context
    ) -> str:
        text = scalar(options, "query", where)
        # Every option is read, so that a broken one is refused whatever the field and the text are.
        conjunction = choice(options, "operator", ("or", "and"), where) == "and"
        lenient = flag(options, "lenient")
        minimum = options.get("minimum_should_match", 1)
        required(minimum, 1)
        if target is None:
            return self.nothing()
        if not target.is_text:
            return self._leniently(lenient, lambda: self.exactly(target, text, boost, context))
        tokens = [token.text for token in target.analyze(printable(text))]
        if not tokens:
            return self.nothing()
        need = len(tokens) if conjunction else max(1, required(minimum, len(tokens)))
        return self.match_tokens(target, tokens, need, boost, context)

    def _leniently(self, lenient: bool, build: Callable[[], str]) -> str:
        """What a text that is no value of the field's type matches: nothing, where that is asked."""
        try:
            return build()
        except EngineError:
            if lenient:
                return self.nothing()
            raise

    def query_match_phrase(self, body: Any, context: Context) -> str:
        path, options = one_field(body, "match_phrase", "query", _PHRASE)
        if options.get("slop", 0) != 0:
            raise unsupported("[match_phrase] with a [slop]")
        target = self.mapped(path, "match_phrase")
        return self._phrase_field(target, options, boost_of(options, "match_phrase"), "match_phrase", context)

    def _phrase_field(
        self, target: Field | None, options: dict[str, Any], boost: float, where: str, context: Context
    ) -> str:
        text, lenient = scalar(options, "query", where), flag(options, "lenient")
        if target is None:
            return self.nothing()
        if not target.is_text:
            return self._leniently(lenient, lambda: self.exactly(target, text, boost, context))
        tokens = [token.text for token in target.analyze(printable(text))]
        return self.phrase(target, tokens, boost, context) if tokens else self.nothing()

    def query_multi_match(self, body: Any, context: Context) -> str:
        options = only(body, _MULTI_MATCH, "multi_match")
        kind = choice(options, "type", ("best_fields", "most_fields", "phrase"), "multi_match")
        boost = boost_of(options, "multi_match")
        build = self._phrase_field if kind == "phrase" else self._match_field
        names = []
        for path, weight in weighted_fields(options):
            target = self.mapped(path, "multi_match")
            names.append(build(target, options, boost * weight, "multi_match", context))
        tie = 1.0 if kind == "most_fields" else decimal(options, "tie_breaker", 0.0, "multi_match")
        return self.best_of(names, tie)

    def query_bool(self, body: Any, context: Context) -> str:
        options = only(body, _BOOL, "bool", unreadable)
        must = self._clauses_of(options, "must", context.inside())
        filters = self._clauses_of(options, "filter", context.inside(scored=False))
        should = self._clauses_of(options, "should", context.inside())
        must_not = self._clauses_of(options, "must_not", context.inside(scored=False, marking=False))
        boost = boost_of(options, "bool")
        need = self._should_need(options, len(should), bool(must or filters))
        if not must and not filters and not should:
            base = self.everything(0.0 if must_not else boost)
        else:
            base = self.boosted(self.combined(must, filters, should, need), boost)
        return self.without(base, must_not)

    def _clauses_of(self, options: dict[str, Any], name: str, context: Context) -> list[str]:
        given = options.get(name, [])
        return [self.compile(query, context) for query in (given if isinstance(given, list) else [given])]

    def _should_need(self, options: dict[str, Any], clauses: int, others: bool) -> int:
        if not clauses:
            return 0
        if "minimum_should_match" in options:
            return max(required(options["minimum_should_match"], clauses), 0 if others else 1)
        return 0 if others else 1

    def query_term(self, body: Any, context: Context) -> str:
        path, options = one_field(body, "term", "value", frozenset({"value", "boost"}))
        value, boost = scalar(options, "value", "term"), boost_of(options, "term")
        if path == "_id":
            return self.with_ids([value], boost)
        target = self.mapped(path, "term")
        return self.nothing() if target is None else self.exactly(target, value, boost, context)

    def query_terms(self, body: Any, context: Context) -> str:
        given = dict(only(body, AnyName(), "terms"))
        boost = boost_of(given, "terms")
        given.pop("boost", None)
        if len(given) != 1:
            raise parsing("[terms] query requires exactly one field with an array of values")
        ((path, terms),) = given.items()
        if isinstance(terms, dict):
            raise unsupported("[terms] lookup")
        if not isinstance(terms, list):
            raise parsing(f"[terms] query does not support [{path}] that is {kind_of(terms)}, it must be an array")
        if len(terms) > MAX_TERMS:
            raise bad_request(
                f"The number of terms [{len(terms)}] used in the Terms Query request has exceeded "
                f"the allowed maximum of [{MAX_TERMS}]"
            )
        if any(value is None or isinstance(value, (dict, list)) for value in terms):
            raise bad_request(f"No value specified for terms query: [{path}] has something else than values")
        if path == "_id":
            return self.with_ids(terms, boost)
        target = self.mapped(path, "terms")
        return self.nothing() if target is None else self._any_of(target, terms, boost, context)

    def _any_of(self, target: Field, terms: list[Any], boost: float, context: Context) -> str:
        unscored = context.inside(scored=False)
        if target.is_text or target.type == "date":
            names = [self.exactly(target, value, boost, unscored) for value in terms]
            if not names:
                return self.nothing()
            union = self.union([f"SELECT doc FROM {name}" for name in names])
            return self.emit(f"SELECT DISTINCT doc, ? AS score FROM ({union})", boost)
        found = [self.converted(target, value) for value in terms]
        if target.type == "keyword":
            for value in found:
                self.mark(target, Mark((str(value),)), context)
        return self.values(target, f"value IN {LIST}", json.dumps(found), score=boost)

    def query_range(self, body: Any, context: Context) -> str:
        path, options = one_field(body, "range", None, _RANGE)
        target = self.mapped(path, "range")
        boost = boost_of(options, "range")
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
        value = scalar(options, bound, "range")
        if target.type == "date":
            date_format = options.get("format", target.format)
            if date_format not in dates.FORMATS:
                raise unsupported(f"date format [{date_format}]")
            first, last = self.instants(value, date_format)
            # An open value reaches to its end where it bounds from below with gt, or from above with lte.
            return last if bound in ("gt", "lte") else first
        if "format" in options:
            raise parsing(f"[range] format is only for dates, [{target.path}] is of type [{target.type}]")
        if target.type == "keyword":
            return printable(value)
        if target.type in ("boolean", "float"):
            return self.checked(lambda: convert(target, value))
        found = self.checked(lambda: number(value))
        return found if abs(found) < 2**63 else float(found)

    def query_exists(self, body: Any, context: Context) -> str:
        options = only(body, frozenset({"field", "boost"}), "exists")
        path, boost = options.get("field"), boost_of(options, "exists")
        if not isinstance(path, str) or not path:
            raise parsing("[exists] must be provided with a [field]")
        if path.startswith("_"):
            raise unsupported(f"[exists] on the metadata field [{path}]")
        ids = [self._index.field_ids[target.path] for target in self._index.mapping.below(path)]
        sql = f"SELECT DISTINCT doc, ? AS score FROM {self._index.values} WHERE field IN {LIST}"
        return self.emit(sql, boost, json.dumps(ids))

    def query_ids(self, body: Any, context: Context) -> str:
        options = only(body, frozenset({"values", "boost"}), "ids")
        values = options.get("values", [])
        return self.with_ids(values if isinstance(values, list) else [values], boost_of(options, "ids"))

    def query_prefix(self, body: Any, context: Context) -> str:
        path, options = one_field(body, "prefix", "value", frozenset({"value", "boost"}))
        start, boost = printable(scalar(options, "value", "prefix")), boost_of(options, "prefix")
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
_TEXT_OPTIONS = {"query", "boost", "lenient"}
_MATCH = frozenset(_TEXT_OPTIONS | {"operator", "minimum_should_match"})
_PHRASE = frozenset({"query", "boost", "slop"})
_MULTI_MATCH = frozenset(_MATCH | {"fields", "type", "tie_breaker"})
_BOOL = frozenset({"must", "filter", "should", "must_not", "minimum_should_match", "boost"})
_RANGE = frozenset({*_OPERATORS, "boost", "format"})

_Handler = Callable[[_Compiler, Any, Context], str]
_HANDLERS: dict[str, _Handler] = {
    "match_all": _Compiler.query_match_all,
    "match": _Compiler.query_match,
    "match_phrase": _Compiler.query_match_phrase,
    "multi_match": _Compiler.query_multi_match,
    "bool": _Compiler.query_bool,
    "term": _Compiler.query_term,
    "terms": _Compiler.query_terms,
    "range": _Compiler.query_range,
    "exists": _Compiler.query_exists,
    "ids": _Compiler.query_ids,
    "prefix": _Compiler.query_prefix,
}
