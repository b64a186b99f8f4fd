"""Calls of Elasticsearch: which of them leave the data as it is, and what the others do, told from method and path."""

from __future__ import annotations

import re

_READS = re.compile(
    r"""(?:/[^/]+)?/_(?:search|msearch|count|mget|async_search|field_caps|validate/query|explain|analyze|termvectors|
    mtermvectors|knn_search|eql/search|query|sql|esql|pit|rank_eval|terms_enum|render|search_shards|search_template|
    msearch/template|source|resolve|inference)(?:/.*)?""",
    re.VERBOSE,
)
"""Paths that are posted to for reading. ``_search/scroll`` and ``_pit`` are also deleted: that changes no data."""

_VERBS = {
    "_doc": "index into {}",
    "_create": "index into {}",
    "_bulk": "write in bulk to {}",
    "_update": "update a document of {}",
    "_update_by_query": "update documents of {}",
    "_delete_by_query": "delete documents of {}",
    "_refresh": "refresh {}",
}
_OF_AN_INDEX = {"PUT": "create the index {}", "DELETE": "delete the index {}"}


def reads(method: str, path: str) -> bool:
    """Does this call of Elasticsearch leave the data as it is?"""
    if method in ("GET", "HEAD"):
        return True
    if method == "DELETE":
        return path == "/_pit" or path.startswith(("/_search/scroll", "/_async_search/"))
    return method == "POST" and _READS.fullmatch(path) is not None


def described(method: str, path: str) -> str:
    """``index into articles``."""
    index, _, action = path.strip("/").partition("/")
    action = action.partition("/")[0]
    if index and not index.startswith("_"):
        if method == "DELETE" and action == "_doc":
            return f"delete a document of {index}"
        verb = _VERBS.get(action) if action else _OF_AN_INDEX.get(method)
        if verb is not None:
            return verb.format(index)
    return f"call {method} {path}"
