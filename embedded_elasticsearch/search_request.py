"""The body of a search request, read and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedded_elasticsearch import sorting
from embedded_elasticsearch.errors import EngineError, bad_request, parsing
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
        "_source",
        "highlight",
        "aggs",
        "aggregations",
        "track_total_hits",
        "track_scores",
        "min_score",
        "version",
        "seq_no_primary_term",
        "timeout",
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
    source: SourceFilter
    highlight: Highlight | None
    aggregations: Any
    counted: int | bool | None  # hits are counted up to here; None: all of them, False: not at all
    scored: bool
    track_scores: bool
    min_score: float | None
    version: bool
    seq_no: bool

    @classmethod
    def read(cls, body: dict[str, Any], query: dict[str, str]) -> Search:
        """Raises a 400 that names the first key the engine does not know."""
        for key in body:
            if key not in _KEYS:
                raise parsing(f"unknown key [{key}] in a search of the embedded search engine")
        body = _with_parameters(body, query)
        keys = sorting.read(body.get("sort"))
        start, size = _window(body)
        return cls(
            query=body.get("query", MATCH_ALL),
            post_filter=body.get("post_filter"),
            start=start,
            size=size,
            keys=keys,
            source=_source(body, query),
            highlight=Highlight.read(body["highlight"]) if body.get("highlight") is not None else None,
            aggregations=body.get("aggs", body.get("aggregations")),
            counted=_counted(body.get("track_total_hits", COUNTED_HITS)),
            scored=sorting.by_score(keys) or _flag(body, "track_scores"),
            track_scores=not keys or _flag(body, "track_scores"),
            min_score=_min_score(body),
            version=_flag(body, "version"),
            seq_no=_flag(body, "seq_no_primary_term"),
        )


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "from": int,
    "size": int,
    "sort": lambda text: [_sort_parameter(part) for part in text.split(",")],
}


def _sort_parameter(text: str) -> Any:
    path, _, order = text.partition(":")
    return {path: order} if order else path


def _with_parameters(body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    merged = dict(body)
    for name, convert in _PARAMETERS.items():
        if name in query:
            try:
                merged[name] = convert(query[name])
            except ValueError:
                raise bad_request(f"Failed to parse int parameter [{name}] with value [{query[name]}]") from None
    for name in ("track_total_hits", "track_scores", "version", "seq_no_primary_term"):
        if name in query:
            text = query[name]
            merged[name] = (
                int(text) if text.lstrip("-").isdigit() else {"true": True, "": True, "false": False}.get(text, text)
            )
    return merged


def _window(body: dict[str, Any]) -> tuple[int, int]:
    start, size = _whole(body, "from", 0), _whole(body, "size", 10)
    if size < 0:
        raise bad_request(f"[size] parameter cannot be negative, found [{size}]")
    if start < 0:
        raise bad_request(f"[from] parameter cannot be negative but was [{start}]")
    return start, size


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


def _min_score(body: dict[str, Any]) -> float | None:
    value = body.get("min_score")
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise parsing(f"[min_score] must be a number, found [{value}]")
    return None if value is None else float(value)
