"""The cluster: every request that the fleet makes of Elasticsearch, but for the one that waits (waiting.py)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from elasticsearch import ConflictError, Elasticsearch, NotFoundError

from graft.fleet.connection import Connection
from graft.fleet.indices import FAILURES, HISTORY, LEASES, MAPPINGS, PAST, SERVERS, SWITCHES, past
from graft.fleet.server_document import ServerDocument
from graft.fleet.snapshot import Snapshot, Version
from graft.operations.state import Event
from graft.settings import Settings
from graft.types import RouteKey

MOST_SERVERS = 2000
KEPT_PAST = 8
"""So many revisions that are past can be waited for: a host that looks has the newest or the one before it."""

LIVES_SECONDS = 60.0
"""A server whose document has not changed for so long has ended, or is cut off."""

KEPT_DAYS = 3
"""So long counts for a rung what a server had seen that has ended."""


class Conflict(Exception):
    """Another writer was quicker."""


@dataclass(frozen=True, slots=True)
class LeaseDocument:
    """Who has a lease. ``term`` rises with each new holder; ``holder`` is empty where it was given back."""

    holder: str
    term: int
    host: str
    version: Version
    notes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look finds: the version of the switches, None where the fleet has none, and its leases."""

    version: Version | None
    leases: Mapping[str, LeaseDocument]


class Cluster(Connection):
    """The documents of the fleet. The methods block; any thread, and any process after a fork. All of them raise
    FleetUnavailable where the cluster does not do what was asked, for whatever reason."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self._made: set[tuple[int, str]] = set()

    # -- the switches --------------------------------------------------------------------------------------------------

    def look(self, leases: Sequence[str] = ()) -> Look:
        """One small request, whatever the number of routes."""
        documents: list[dict[str, Any]] = [{"_index": SWITCHES, "_id": self.name, "_source": False}]
        documents += ({"_index": LEASES, "_id": self._lease_id(name)} for name in leases)
        with self.asking() as client:
            found = client.mget(docs=documents)["docs"]
            _check_shards(found)
            version = _version(found[0]) if found[0].get("found") else None
            return Look(
                version, {name: _lease(each) for name, each in zip(leases, found[1:], strict=True) if each.get("found")}
            )

    def read(self) -> Snapshot | None:
        """The switches as they are now; None where the fleet has none yet."""
        with self.asking() as client:
            try:
                found = client.get(index=SWITCHES, id=self.name)
            except NotFoundError:
                return None
            return Snapshot.of_source(found["_source"], _version(found))

    def write(self, snapshot: Snapshot) -> Snapshot:
        """Write it over the version that it has; as the first one where it has none. Raises Conflict."""
        source = snapshot.as_source(self.name)
        with self.asking() as client:
            if snapshot.version is None:
                self.make(client, SWITCHES, MAPPINGS[SWITCHES])
            return snapshot.at(_put(client, SWITCHES, self.name, source, snapshot.version))

    def wake(self, snapshot: Snapshot) -> None:
        """Answer all who wait for what came before ``snapshot``, which was written just now.

        Aliases of some earlier revisions are set too: a writer may have died before it came to this, and a host may
        have been on its way to wait. Older ones go. One of a later revision stays: a writer that was overtaken comes
        here after the one that overtook it.
        """
        newest = snapshot.revision - 1
        actions: list[Mapping[str, Any]] = [
            {"add": {"index": SWITCHES, "alias": past(self.name, snapshot.id, number)}}
            for number in range(max(0, newest - KEPT_PAST + 1), newest + 1)
        ]
        if not actions:
            return
        for number in range(max(0, newest - 4 * KEPT_PAST), newest - KEPT_PAST + 1):
            alias = past(self.name, snapshot.id, number)
            actions.append({"remove": {"index": SWITCHES, "alias": alias, "must_exist": False}})
        with self.asking() as client:
            client.indices.update_aliases(actions=actions)

    def may_wake(self) -> bool:
        """Whether this client has the right to, found out by taking away what is never there."""
        remove = {"index": SWITCHES, "alias": f"{PAST}.{self.name}.never", "must_exist": False}
        with self.asking() as client:
            answer = client.options(ignore_status=(401, 403, 404)).indices.update_aliases(actions=[{"remove": remove}])
            return answer.meta.status in (200, 404)

    # -- leases --------------------------------------------------------------------------------------------------------

    def write_lease(
        self, name: str, holder: str, host: str, term: int, notes: Mapping[str, Any], version: Version | None
    ) -> LeaseDocument:
        """Raises Conflict where another one has written it since ``version``."""
        source = {"fleet": self.name, "name": name, "holder": holder, "host": host, "term": term, "notes": dict(notes)}
        with self.asking() as client:
            if version is None:
                self.make(client, LEASES, MAPPINGS[LEASES])
            written = _put(client, LEASES, self._lease_id(name), source, version)
            return LeaseDocument(holder, term, host, written, notes)

    def read_lease(self, name: str) -> LeaseDocument | None:
        with self.asking() as client:
            try:
                return _lease(client.get(index=LEASES, id=self._lease_id(name)))
            except NotFoundError:
                return None

    def _lease_id(self, name: str) -> str:
        return f"{self.name}.{name}"

    # -- history -------------------------------------------------------------------------------------------------------

    def record(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Put ``events`` of a snapshot into the history. One that is there already stays as it is."""
        operations: list[Mapping[str, Any]] = []
        indices: set[str] = set()
        for event in events:
            index = _index_of(event)
            indices.add(index)
            operations += ({"create": {"_index": index, "_id": event["id"]}}, {**event, "fleet": self.name})
        if not operations:
            return
        with self.asking() as client:
            for index in indices:  # a bulk request to an index that is gone would make one without these mappings
                self.make(client, index, MAPPINGS[HISTORY])
            answer = client.bulk(operations=operations, refresh=True)
            refused = [item["create"] for item in answer["items"] if item["create"]["status"] not in (201, 409)]
            if refused:
                raise ValueError(f"takes no history: {str(refused[0].get('error'))[:300]}")

    def newest(self, key: RouteKey | None, last: int) -> list[Event]:
        """Of ``key`` or of all routes, the newest first; without those that only the snapshot has yet."""
        return [_event(hit) for hit in self._found(self._of(key), "desc", last)]

    def after(self, revision: int, number: int, most: int) -> list[Mapping[str, Any]]:
        """The oldest events behind that one, the oldest first."""
        later = [
            {"range": {"revision": {"gt": revision}}},
            {"bool": {"filter": [{"term": {"revision": revision}}, {"range": {"number": {"gt": number}}}]}},
        ]
        query = [*self._of(None), {"bool": {"should": later, "minimum_should_match": 1}}]
        return [hit["_source"] for hit in self._found(query, "asc", most)]

    def recorded(self, ids: Sequence[str]) -> set[str]:
        """Which of these events the history has."""
        query = [*self._of(None), {"terms": {"id": list(ids)}}]
        return {hit["_source"]["id"] for hit in self._found(query, "desc", len(ids))}

    def _of(self, key: RouteKey | None) -> list[dict[str, Any]]:
        return [{"term": {"fleet": self.name}}, *([{"term": {"route": str(key)}}] if key is not None else [])]

    def _found(self, query: list[dict[str, Any]], order: str, most: int) -> list[dict[str, Any]]:
        sort = [{name: {"order": order, "unmapped_type": "long"}} for name in ("revision", "number")]
        with self.asking() as client:
            found = client.search(
                index=f"{HISTORY}-*", query={"bool": {"filter": query}}, sort=sort, size=min(most, 10_000)
            )
            if found["_shards"]["failed"]:
                raise ValueError(f"answers for a part of its history only ({found['_shards']['failed']} shards failed)")
            hits: list[dict[str, Any]] = found["hits"]["hits"]
            return hits

    # -- failures ------------------------------------------------------------------------------------------------------

    def tell_failures(self, key: RouteKey, revision: int, server: str, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put ``own`` into the document of ``key`` since ``revision``; what all servers have there, by their names."""
        id = f"{self.name}.{blake2b(str(key).encode(), digest_size=8).hexdigest()}.{revision}"
        document = {"fleet": self.name, "route": str(key), "at": _now(), "hosts": {server: dict(own)}}
        with self.asking() as client:
            self._make_once(client, FAILURES)
            # Elasticsearch merges the one field, again where another host was quicker.
            written = client.update(
                index=FAILURES, id=id, doc=document, doc_as_upsert=True, retry_on_conflict=20, source_includes="hosts"
            )
            return dict(written["get"]["_source"]["hosts"])

    def _make_once(self, client: Elasticsearch, index: str) -> None:
        """Once a process: it is asked for each time that something is told."""
        if (os.getpid(), index) not in self._made:
            self.make(client, index, MAPPINGS[index])
            self._made.add((os.getpid(), index))

    # -- servers -------------------------------------------------------------------------------------------------------

    def count_servers(self) -> int:
        """About how many have told something of late."""
        with self.asking() as client:
            recent = {"range": {"at": {"gte": f"now-{LIVES_SECONDS:.0f}s"}}}
            query = {"bool": {"filter": [{"term": {"fleet": self.name}}, recent]}}
            return int(client.count(index=SERVERS, query=query, ignore_unavailable=True)["count"])

    def servers(self, blob: str) -> list[ServerDocument]:
        """What all servers have told, with one of their blobs."""
        with self.asking() as client:
            found = client.search(
                index=SERVERS,
                query={"bool": {"should": [{"term": {"fleet": self.name}}, {"term": {"fleet.keyword": self.name}}]}},
                sort=[{"at": {"order": "desc", "unmapped_type": "date"}}],
                size=MOST_SERVERS,
                source_includes=["fleet", "server", "host", "beat", "at", blob],
                ignore_unavailable=True,
            )
            # Where the index was deleted under a running fleet, the next write has made one with other mappings.
            sources = [hit["_source"] for hit in found["hits"]["hits"]]
            return [ServerDocument.of_source(each, blob) for each in sources if each["fleet"] == self.name]

    def write_server(self, fields: Mapping[str, Any]) -> bool:
        """Put these fields into the server's document; whether there was none before."""
        with self.asking() as client:
            id = f"{self.name}.{fields['server']}"
            document = {**fields, "fleet": self.name}
            self._make_once(client, SERVERS)
            written = client.update(index=SERVERS, id=id, doc=document, doc_as_upsert=True)
            return bool(written["result"] == "created")

    def forget_servers(self) -> None:
        """Delete the documents of servers that have told nothing for ``KEPT_DAYS``, some at a time; and failures."""
        with self.asking() as client:
            old = {"range": {"at": {"lt": f"now-{KEPT_DAYS}d"}}}
            query = {"bool": {"filter": [{"term": {"fleet": self.name}}, old]}}
            both = [SERVERS, FAILURES]
            found = client.search(index=both, query=query, size=500, source=False, ignore_unavailable=True)
            operations = [{"delete": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in found["hits"]["hits"]]
            if operations:
                client.bulk(operations=operations)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _put(client: Elasticsearch, index: str, id: str, source: Mapping[str, Any], version: Version | None) -> Version:
    """Compare and set. Raises Conflict."""
    expected: dict[str, Any] = {"op_type": "create"}
    if version is not None:
        expected = {"if_primary_term": version[0], "if_seq_no": version[1]}
    try:
        return _version(client.index(index=index, id=id, document=source, **expected))
    except ConflictError:
        raise Conflict from None


def _version(found: Any) -> Version:
    return int(found["_primary_term"]), int(found["_seq_no"])


def _lease(found: Any) -> LeaseDocument:
    source = found["_source"]
    notes = source.get("notes") or {}
    return LeaseDocument(str(source["holder"]), int(source["term"]), str(source["host"]), _version(found), dict(notes))


def _check_shards(found: Iterable[Any]) -> None:
    """Raises ValueError for a document that could not be looked for: that is not the same as one that is not there."""
    for each in found:
        kind = (each.get("error") or {}).get("type", "")
        if kind and kind != "index_not_found_exception":
            raise ValueError(f"answers {each['error'].get('reason') or kind}")


def _index_of(event: Mapping[str, Any]) -> str:
    """By the event's own time: the same one each time that it is recorded."""
    return f"{HISTORY}-{datetime.fromisoformat(event['at']):%Y.%m}"


def _event(hit: Mapping[str, Any]) -> Event:
    return Event.of_data(hit["_source"])
