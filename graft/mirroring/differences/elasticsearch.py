"""Differences in an index of a real Elasticsearch, which several hosts may share.

Only plain calls are used (bulk, search, sort), which every cluster has, and which a user may be granted on one index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from elastic_transport import ObjectApiResponse
from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError, TransportError

from graft.errors import DifferencesError
from graft.mirroring.differences.document import KeptDifference, LearnedNoise
from graft.mirroring.differences.store import DAYS, KEPT, SHOWN, oldest
from graft.search.client import reason
from graft.types import RouteKey

INDEX = "graft-differences"

_SECONDS = 5.0
_MAPPINGS = {
    "dynamic": False,
    "properties": {
        "kind": {"type": "keyword"},
        "route": {"type": "keyword"},
        "group": {"type": "keyword", "ignore_above": 1000},
        "at": {"type": "date"},
        "host": {"type": "keyword"},
        "version": {"type": "keyword"},
        "environment": {"type": "keyword"},
        "detail": {"type": "object", "enabled": False},
    },
}
_SETTINGS = {"number_of_replicas": 0, "number_of_shards": 1}


class ElasticsearchStore:
    """The differences in the index ``graft-differences``, which is made with the first write, and after a deletion."""

    def __init__(self, client: AsyncElasticsearch, *, days: float = DAYS) -> None:
        self._client = client.options(request_timeout=_SECONDS)
        self._days = days

    async def write(self, differences: Sequence[KeptDifference], noise: Sequence[LearnedNoise]) -> list[str]:
        try:
            await self._make()
            operations: list[dict[str, Any]] = []
            for one in differences:
                operations += ({"index": {"_id": one.id}}, _document(one))
            for learned in noise:
                operations += ({"index": {"_id": _id_of(learned)}}, _noise(learned))
            # Written before anything is searched: where another worker has made the index this instant, a write waits
            # for its shard and a search fails. Refreshed, so that _trim counts what has just been written.
            answer = await self._client.bulk(index=INDEX, operations=operations, refresh=True)
            await self._trim({str(one.route) for one in differences})
        except (ApiError, TransportError) as error:
            raise DifferencesError(reason(error, self._client)) from error
        return _refused(answer["items"]) if answer["errors"] else []

    async def _make(self) -> None:
        """Asked before each write: a bulk request to an index that is gone would make one without these mappings."""
        if not await self._client.indices.exists(index=INDEX):
            # 400: another worker has just made it.
            creating = self._client.options(ignore_status=400).indices
            await creating.create(index=INDEX, mappings=_MAPPINGS, settings=_SETTINGS)

    async def _trim(self, routes: set[str]) -> None:
        for route in routes:
            found = await self._search(
                query=_filtered("difference", route), sort=[{"at": "desc"}], from_=KEPT, size=1000, source=False
            )
            old = [{"delete": {"_id": hit["_id"]}} for hit in found["hits"]["hits"]]
            if old:
                await self._client.bulk(index=INDEX, operations=old, refresh=True)

    async def forget_old(self) -> None:
        try:
            await self._delete({"bool": {"filter": [_older_than(self._days)]}})
        except (ApiError, TransportError) as error:
            raise DifferencesError(reason(error, self._client)) from error

    async def clear(self, route: RouteKey | None = None) -> int:
        named = [{"term": {"route": str(route)}}] if route is not None else []
        try:
            cleared = await self._delete(_filtered("difference", str(route) if route is not None else None))
            await self._delete({"bool": {"filter": named}})  # noise
        except (ApiError, TransportError) as error:
            raise DifferencesError(reason(error, self._client)) from error
        return cleared

    async def _delete(self, query: dict[str, Any]) -> int:
        """Delete what ``query`` finds, a thousand at a time: not every cluster has delete_by_query, and not every user
        may."""
        deleted = 0
        while True:
            try:
                found = await self._search(query=query, size=1000, source=False)
            except NotFoundError:
                return deleted
            if not (hits := found["hits"]["hits"]):
                return deleted
            operations = [{"delete": {"_id": hit["_id"]}} for hit in hits]
            answer = await self._client.bulk(index=INDEX, operations=operations, refresh=True)
            if answer["errors"] and not any(item["delete"]["status"] == 200 for item in answer["items"]):
                raise DifferencesError(f"they can't be deleted: {_refused(answer['items'])[:1]}")
            deleted += len(hits)

    async def newest(self, route: RouteKey | None = None) -> list[KeptDifference]:
        hits = await self._found("difference", route, SHOWN if route is None else KEPT)
        return [
            KeptDifference(hit["_id"], RouteKey.parse(source["route"]), source["group"], source["at"], source["detail"])
            for hit in hits
            for source in (hit["_source"],)
        ]

    async def noise(self, route: RouteKey | None = None) -> list[LearnedNoise]:
        sources = [hit["_source"] for hit in await self._found("noise", route, 1000)]
        return [LearnedNoise(RouteKey.parse(each["route"]), each["group"], each["at"]) for each in sources]

    async def _search(self, **asked: Any) -> ObjectApiResponse[Any]:
        """A red cluster answers with 200 and what the shards have that are left: that is no answer."""
        found = await self._client.search(index=INDEX, **asked)
        shards = found["_shards"]
        if shards["failed"]:
            raise DifferencesError(f"{shards['failed']} of the {shards['total']} shards of {INDEX} give no answer now")
        return found

    async def _found(self, kind: str, route: RouteKey | None, size: int) -> list[dict[str, Any]]:
        query = _filtered(kind, None if route is None else str(route))
        query["bool"]["must_not"] = [_older_than(self._days)]
        try:
            found = await self._search(query=query, sort=[{"at": "desc"}], size=size)
        except NotFoundError:
            return []
        except (ApiError, TransportError) as error:
            raise DifferencesError(reason(error, self._client)) from error
        hits: list[dict[str, Any]] = found["hits"]["hits"]
        return hits


def _filtered(kind: str, route: str | None) -> dict[str, Any]:
    return {"bool": {"filter": [{"term": {"kind": kind}}, *([{"term": {"route": route}}] if route else [])]}}


def _older_than(days: float) -> dict[str, Any]:
    return {"range": {"at": {"lt": oldest(days)}}}


def _document(one: KeptDifference) -> dict[str, Any]:
    origin: dict[str, Any] = {name: one.detail.get(name) for name in ("host", "version", "environment")}
    return {
        "kind": "difference",
        "route": str(one.route),
        "group": one.what,
        "at": one.at,
        **origin,
        "detail": one.detail,
    }


def _noise(one: LearnedNoise) -> dict[str, Any]:
    return {"kind": "noise", "route": str(one.route), "group": one.what, "at": one.at}


def _id_of(one: LearnedNoise) -> str:
    return hashlib.blake2b(f"{one.route}\n{one.what}".encode(), digest_size=12).hexdigest()


def _refused(items: list[dict[str, dict[str, Any]]]) -> list[str]:
    """Why single documents will never be taken. Raises DifferencesError where the cluster has no room for them now."""
    reasons = []
    for result in (result for item in items for result in item.values() if "error" in result):
        told = f"{result['error'].get('type')}: {result['error'].get('reason')}"
        if result["status"] != 400:  # 429 overloaded, 403 the disk is full, 404 the index was deleted this instant
            raise DifferencesError(f"the index {INDEX} takes no documents now: {told[:300]}")
        reasons.append(told)
    return reasons
