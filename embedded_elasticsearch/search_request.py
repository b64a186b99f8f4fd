"""The body of a search request, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedded_elasticsearch import sorting
from embedded_elasticsearch.errors import EngineError, bad_request, invalid, parsing
from embedded_elasticsearch.highlight import Highlight
from embedded_elasticsearch.sorting import Key
from embedded_elasticsearch.sources import SourceFilter

COUNTED_HITS = 10_000  # track_total_hits, unless asked otherwise
MATCH_ALL: dict[str, Any] = {"match_all": {}}

_KEYS = frozenset(
    {
        "query",
        "post_filter",
        "from",
        "size",
        "sort",
        "search_after",
        "_source",
        "highlight",
        "aggs",
        "aggregations",
        "track_total_hits",
        "seq_no_primary_term",
    }
)


@dataclass(frozen=True)
class Search:
    """A search request that has been read and checked."""

    query: Any
    post_filter: Any
    start: int
    size: int
    keys: list[Key]
    after: list[Any] | None
    source: SourceFilter
    highlight: Highlight | None
    aggregations: Any
    counted: int | bool | None  # hits are counted up to here; None: all of them, False: not at all
    scored: bool
    seq_no: bool

    @classmethod
    def read(cls, body: dict[str, Any], query: dict[str, str]) -> Search:
        """Raises a 400 that names the first key the engine does not know."""
        for key in body:
            if key not in _KEYS:
                raise parsing(f"unknown key [{key}] in a search of the embedded search engine")
        keys = sorting.read(body.get("sort"))
        start, size = _window(body)
        return cls(
            query=body.get("query", MATCH_ALL),
            post_filter=body.get("post_filter"),
            start=start,
            size=size,
            keys=keys,
            after=_after(body, keys, start),
            source=_source(body, query),
            highlight=Highlight.read(body["highlight"]) if body.get("highlight") is not None else None,
            aggregations=body.get("aggs", body.get("aggregations")),
            counted=_counted(body.get("track_total_hits", COUNTED_HITS)),
            scored=sorting.by_score(keys),
            seq_no=_flag(body, "seq_no_primary_term"),
        )


def _window(body: dict[str, Any]) -> tuple[int, int]:
    start, size = _whole(body, "from", 0), _whole(body, "size", 10)
    if size < 0:
        raise bad_request(f"[size] parameter cannot be negative, found [{size}]")
    if start < 0:
        raise bad_request(f"[from] parameter cannot be negative but was [{start}]")
    return start, size


def _after(body: dict[str, Any], keys: list[Key], start: int) -> list[Any] | None:
    """The sort values of the hit after which the answer begins."""
    after = body.get("search_after")
    if after is None:
        return None
    if not isinstance(after, list) or not after:
        raise bad_request("Values must contains at least one value.")
    if start:
        raise invalid("`from` parameter must be set to 0 when `search_after` is used")
    if not keys:
        raise bad_request("Sort must contain at least one field.", phase="query")
    if len(after) != len(keys):
        raise bad_request(f"search_after has {len(after)} value(s) but sort has {len(keys)}.", phase="query")
    return after


def _whole(body: dict[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise EngineError(400, "number_format_exception", f"[{name}] must be a whole number, found [{value}]")
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise parsing(f"[{name}] must be true or false, found [{value}]")
    return value


def _source(body: dict[str, Any], query: dict[str, str]) -> SourceFilter:
    if any(name in query for name in ("_source", "_source_includes", "_source_excludes")):
        return SourceFilter.from_query(query)
    return SourceFilter.read(body.get("_source", True))


def _counted(value: Any) -> int | bool | None:
    if value is True:
        return None
    if value is False:
        return False
    if not isinstance(value, int) or value < 0:
        raise bad_request(f"[track_total_hits] parameter must be positive or equals to -1, got {value}")
    return value
