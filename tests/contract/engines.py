"""What both engines are asked in the contract suite: documents to index, and how answers are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

MAPPINGS: dict[str, Any] = {
    "properties": {
        "title": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 40}}},
        "text": {"type": "text"},
        "package": {"type": "keyword"},
        "tags": {"type": "keyword"},
        "lines": {"type": "integer"},
        "size": {"type": "long"},
        "rating": {"type": "double"},
        "price": {"type": "float"},
        "public": {"type": "boolean"},
        "changed": {"type": "date"},
        "author": {"properties": {"name": {"type": "text"}, "age": {"type": "short"}}},
        "hidden": {"type": "text", "index": False},
        "raw": {"type": "object", "enabled": False},
        "exact": {"type": "text", "analyzer": "whitespace"},
    }
}

DOCUMENTS: dict[str, dict[str, Any]] = {
    "routing": {
        "title": "Routing requests in Starlette",
        "text": "A router matches the path of a request. Routes are tried in order, and the first route wins. "
        "Mount sends whole subtrees to another application. <script>alert(1)</script>",
        "package": "starlette",
        "tags": ["web", "async"],
        "lines": 120,
        "size": 4611686018427387904,
        "rating": 4.5,
        "price": 0.1,
        "public": True,
        "changed": "2024-01-15",
        "author": {"name": "Tom Smith", "age": 40},
        "hidden": "secret words",
        "raw": {"anything": [1, {"deep": True}]},
        "exact": "Flask-Login v1.2 C++",
    },
    "views": {
        "title": "Views and blueprints",
        "text": "A view function answers a request. Blueprints group views, and a blueprint may have routes of its "
        "own. Flask calls before_request first. It's called per-request in flask.app.",
        "package": "flask",
        "tags": ["web", "sync"],
        "lines": 300,
        "size": 10,
        "rating": 3.5,
        "public": True,
        "changed": "2024-02-01T10:30:00Z",
        "author": [{"name": "Ann Lee", "age": 30}, {"name": "Bob Smith", "age": 50}],
        "exact": "flask-login",
    },
    "search": {
        "title": "Searching documents",
        "text": "The search engine ranks documents by relevance. A request asks for a phrase or for single words. "
        "The quick brown fox of every search engine test jumps over the lazy dog.",
        "package": "elasticsearch",
        "tags": ["search"],
        "lines": 45,
        "size": -3,
        "rating": 5.0,
        "price": 19.99,
        "public": False,
        "changed": 1704067200000,
        "author": {"name": "Tom Jones"},
        "raw": "no object at all",
    },
    "sessions": {
        "title": "Sessions",
        "text": ["Sessions keep users logged in.", "A session is signed, and the cookie has it."],
        "package": "flask",
        "tags": [],
        "lines": [10, 500],
        "rating": 3.5,
        "public": None,
        "changed": "2023-12-31T23:59:59.999+02:00",
    },
    "unicode": {
        "title": "Größe und Übersicht: 日本語 の テスト",
        "text": "İstanbul café naïve Straße. Привет мир! don’t foo_bar 3.14 x:y a·b 😀",
        "package": "stdlib",
        "tags": ["web"],
        "lines": 0,
        "public": "true",
        "changed": "2024-01-15T00:00:00.001Z",
    },
    "empty": {"title": "", "package": ""},
    "long": {
        "title": "A title that is much longer than the keyword field of it may be",
        "text": "request request request request " + "filler words to make this text rather long " * 12,
        "package": "starlette",
        "lines": 7,
    },
}

# Parts of an answer that belong to one server, not to what was asked.
_OWN = frozenset({"took", "_shards", "index_uuid", "uuid", "node", "shard", "line", "col", "failed_shards"})


def comparable(answer: Any) -> Any:
    """An answer without what differs between any two servers; scores rounded as floats of 32 bits must be."""
    if isinstance(answer, dict):
        return {key: comparable(value) for key, value in answer.items() if key not in _OWN}
    if isinstance(answer, (list, tuple)):
        return [comparable(item) for item in answer]
    if isinstance(answer, float) and math.isfinite(answer):
        return float(f"{answer:.4g}")
    return answer


def agree(ours: Any, theirs: Any, path: str = "", reasons: bool = True) -> Iterator[str]:
    """Where two comparable answers differ, one line each.

    Scores may differ by a twelfth: Lucene keeps the length of a text in one byte, so its BM25 is a coarser one.
    ``reasons`` False leaves out the wording of errors.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if not reasons and _is_wording(key, ours):
                continue
            yield from agree(ours.get(key, _ABSENT), theirs.get(key, _ABSENT), f"{path}.{key}", reasons)
    elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from agree(one, other, f"{path}[{number}]", reasons)
    elif ours != theirs and not _close(ours, theirs):
        yield f"{path}: {ours!r} is {theirs!r} in Elasticsearch"


def error_of(answer: dict[str, Any]) -> tuple[int, str, str]:
    """Status, type and root type of an error answer."""
    if "error" not in answer:
        return 200, "no error", "no error"
    error = answer["error"]
    return answer["status"], error["type"], error["root_cause"][0]["type"]


_ABSENT = "(absent)"


def _close(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, float) and isinstance(theirs, float) and math.isclose(ours, theirs, rel_tol=1 / 12)


def _is_wording(key: str, answer: dict[str, Any]) -> bool:
    """Texts of errors, and the names in them; what type of error it is, is no wording."""
    if key == "error":
        return not isinstance(answer.get("error"), dict)
    return key in ("reason", "caused_by", "resource.id", "resource.type") or (key == "index" and "type" in answer)
