"""The guard: a route that runs as a mirror may look, but not touch.

For such a run ``request.state.elasticsearch`` refuses whatever writes, and no background task starts
(``graft.tasks.refusal``). What was tried is kept: a comparison with an answer that was made this way says nothing.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from elasticsearch import AsyncElasticsearch

from graft.errors import SearchError
from graft.types import Side

_READS = re.compile(
    r"""(?:/[^/]+)?/_(?:search|msearch|count|mget|async_search|field_caps|validate/query|explain|analyze|termvectors|
    mtermvectors|knn_search|eql/search|query|sql|esql|pit|rank_eval|terms_enum|render|search_shards|search_template|
    msearch/template|source|resolve|inference)(?:/.*)?""",
    re.VERBOSE,
)
"""Paths that are posted to for reading. ``_search/scroll`` and ``_pit`` are also deleted: that changes no data."""

_VERBS = {
    "index": "index into {}",
    "create": "index into {}",
    "bulk": "write in bulk to {}",
    "update": "update a document of {}",
    "delete": "delete a document of {}",
    "update_by_query": "update documents of {}",
    "delete_by_query": "delete documents of {}",
    "indices.create": "create the index {}",
    "indices.delete": "delete the index {}",
    "indices.refresh": "refresh {}",
}


class MirroredWrite(SearchError):
    """A route that runs as a mirror tried to change something."""


class Tried:
    """What one mirrored run of ``side`` tried to change: ``index into articles``."""

    def __init__(self, side: Side = Side.NATIVE) -> None:
        self.what: list[str] = []
        self._side = side

    def refuse(self, what: str) -> MirroredWrite:
        self.what.append(what)
        return MirroredWrite(f"{self._side} tried to {what} while it ran as a mirror")

    @property
    def note(self) -> str | None:
        return f"not comparable: {self._side} tried to {self.what[0]}" if self.what else None


current: ContextVar[Tried | None] = ContextVar("graft_mirrored_run", default=None)
"""What the mirrored run that this code belongs to has tried."""

_guarded: WeakKeyDictionary[AsyncElasticsearch, AsyncElasticsearch] = WeakKeyDictionary()
"""The guarded twin of each client: to make one takes longer than a fast route."""


def guarded_state(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a mirrored request: the same, but for a client that refuses to write."""
    client = state.get("elasticsearch")
    if not isinstance(client, AsyncElasticsearch):
        return dict(state)
    if client not in _guarded:
        _guarded[client] = read_only(client)
    return {**state, "elasticsearch": _guarded[client]}


def read_only(client: AsyncElasticsearch) -> AsyncElasticsearch:
    """A client over the same connections that raises MirroredWrite where this one would write."""
    guarded = client.options()
    perform, options = guarded.perform_request, guarded.options

    async def perform_request(method: str, path: str, **rest: Any) -> Any:
        if not reads(method, path):
            raise (current.get() or Tried()).refuse(_described(method, path, rest))
        return await perform(method, path, **rest)

    def guarded_options(**changes: Any) -> AsyncElasticsearch:
        return read_only(options(**changes))

    guarded.perform_request = perform_request  # type: ignore[method-assign]
    guarded.options = guarded_options  # type: ignore[method-assign]
    return guarded


def reads(method: str, path: str) -> bool:
    """Does this call of Elasticsearch leave the data as it is?"""
    if method in ("GET", "HEAD"):
        return True
    if method == "DELETE":
        return path == "/_pit" or path.startswith(("/_search/scroll", "/_async_search/"))
    return method == "POST" and _READS.fullmatch(path) is not None


def _described(method: str, path: str, call: dict[str, Any]) -> str:
    verb = _VERBS.get(call.get("endpoint_id") or "")
    index = (call.get("path_parts") or {}).get("index") or unquote(path.split("/")[1])
    if verb is None or (index.startswith("_") and "index" not in (call.get("path_parts") or {})):
        return f"call {method} {path}"
    return verb.format(index if isinstance(index, str) else ",".join(index))
