"""The cluster: every request that the fleet makes of Elasticsearch. What the indices are called and how they are mapped
stands in deploy/elasticsearch too, for those who make them themselves."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from elasticsearch import ApiError, ConflictError, Elasticsearch, NotFoundError, TransportError

from graft.errors import FleetUnavailable, SettingError
from graft.fleet.server_document import ServerDocument
from graft.fleet.snapshot import Snapshot, Version
from graft.operations.state import Event
from graft.search.client import addresses, credentials, reason, tls
from graft.settings import Settings
from graft.types import RouteKey

REQUEST_SECONDS = 2.0
"""Nobody waits for it but a command or the worker that asks for its host."""

MAKING_SECONDS = 15.0
"""For an index that is made: once a fleet, and once a month."""

SWITCHES = "graft-fleet-switches"
LEASES = "graft-fleet-leases"
SERVERS = "graft-fleet-servers"
HISTORY = "graft-fleet-history"
"""Followed by the month: what is old goes with its index."""

SETTINGS = {"number_of_shards": 1, "auto_expand_replicas": "0-2"}
MAPPINGS: Mapping[str, Mapping[str, Any]] = {
    SWITCHES: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "revision": {"type": "long"}, "at": {"type": "date"}},
    },
    LEASES: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "name": {"type": "keyword"}, "host": {"type": "keyword"}},
    },
    SERVERS: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "host": {"type": "keyword"}, "at": {"type": "date"}},
    },
    HISTORY: {
        "dynamic": False,
        "properties": {
            "fleet": {"type": "keyword"},
            "id": {"type": "keyword"},
            "route": {"type": "keyword"},
            "operation": {"type": "keyword"},
            "by": {"type": "keyword"},
            "host": {"type": "keyword"},
            "at": {"type": "date"},
            "revision": {"type": "long"},
            "number": {"type": "integer"},
        },
    },
}

MOST_SERVERS = 2000
KEPT_DAYS = 3
"""So long counts for a rung what a server had seen that has ended."""

LOCAL = 'To take a route back on this host alone: graft rollback "GET /path" --host.'


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


class Cluster:
    """The documents of the fleet ``name``. The methods block; any thread, and any process after a fork. All of them
    raise FleetUnavailable where the cluster does not do what was asked, for whatever reason."""

    def __init__(self, name: str, settings: Settings) -> None:
        if not settings.elasticsearch_url:
            mend = "Name the cluster that keeps it: ELASTICSEARCH_URL=https://HOST:PORT."
            raise SettingError("GRAFT_FLEET", f"found {name!r}, without ELASTICSEARCH_URL", mend)
        self.name = name
        self._settings = settings
        self._lock = threading.Lock()
        self._clients: dict[int, Elasticsearch] = {}
        self._has_made_servers: set[int] = set()
        self.addresses = addresses(self._client())
        self.place = f"fleet {name} ({self.addresses})"

    # -- the switches --------------------------------------------------------------------------------------------------

    def look(self, leases: Sequence[str] = ()) -> Look:
        """One small request, whatever the number of routes."""
        documents: list[dict[str, Any]] = [{"_index": SWITCHES, "_id": self.name, "_source": False}]
        documents += ({"_index": LEASES, "_id": self._lease_id(name)} for name in leases)
        with self._asking() as client:
            found = client.mget(docs=documents)["docs"]
            _check_shards(found)
            version = _version(found[0]) if found[0].get("found") else None
            return Look(
                version, {name: _lease(each) for name, each in zip(leases, found[1:], strict=True) if each.get("found")}
            )

    def read(self) -> Snapshot | None:
        """The switches as they are now; None where the fleet has none yet."""
        with self._asking() as client:
            try:
                found = client.get(index=SWITCHES, id=self.name)
            except NotFoundError:
                return None
            return Snapshot.of_source(found["_source"], _version(found))

    def write(self, snapshot: Snapshot) -> Snapshot:
        """Write it over the version that it has; as the first one where it has none. Raises Conflict."""
        source = snapshot.as_source(self.name)
        with self._asking() as client:
            if snapshot.version is None:
                self._make(client, SWITCHES, MAPPINGS[SWITCHES])
            return snapshot.at(_put(client, SWITCHES, self.name, source, snapshot.version))

    # -- leases --------------------------------------------------------------------------------------------------------

    def write_lease(
        self, name: str, holder: str, host: str, term: int, notes: Mapping[str, Any], version: Version | None
    ) -> LeaseDocument:
        """Raises Conflict where another one has written it since ``version``."""
        source = {"fleet": self.name, "name": name, "holder": holder, "host": host, "term": term, "notes": dict(notes)}
        with self._asking() as client:
            if version is None:
                self._make(client, LEASES, MAPPINGS[LEASES])
            written = _put(client, LEASES, self._lease_id(name), source, version)
            return LeaseDocument(holder, term, host, written, notes)

    def read_lease(self, name: str) -> LeaseDocument | None:
        with self._asking() as client:
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
        with self._asking() as client:
            for index in indices:  # a bulk request to an index that is gone would make one without these mappings
                self._make(client, index, MAPPINGS[HISTORY])
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
        with self._asking() as client:
            found = client.search(
                index=f"{HISTORY}-*", query={"bool": {"filter": query}}, sort=sort, size=min(most, 10_000)
            )
            if found["_shards"]["failed"]:
                raise ValueError(f"answers for a part of its history only ({found['_shards']['failed']} shards failed)")
            hits: list[dict[str, Any]] = found["hits"]["hits"]
            return hits

    # -- servers -------------------------------------------------------------------------------------------------------

    def servers(self, blob: str) -> list[ServerDocument]:
        """What all servers have told, with one of their blobs."""
        with self._asking() as client:
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
        with self._asking() as client:
            id = f"{self.name}.{fields['server']}"
            document = {**fields, "fleet": self.name}
            if os.getpid() not in self._has_made_servers:
                self._make(client, SERVERS, MAPPINGS[SERVERS])
                self._has_made_servers.add(os.getpid())
            written = client.update(index=SERVERS, id=id, doc=document, doc_as_upsert=True)
            return bool(written["result"] == "created")

    def forget_servers(self) -> None:
        """Delete the documents of servers that have told nothing for ``KEPT_DAYS``, some at a time."""
        with self._asking() as client:
            old = {"range": {"at": {"lt": f"now-{KEPT_DAYS}d"}}}
            query = {"bool": {"filter": [{"term": {"fleet": self.name}}, old]}}
            found = client.search(index=SERVERS, query=query, size=500, source=False, ignore_unavailable=True)
            operations = [{"delete": {"_index": SERVERS, "_id": hit["_id"]}} for hit in found["hits"]["hits"]]
            if operations:
                client.bulk(operations=operations)

    # -- asking --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _make(client: Elasticsearch, index: str, mappings: Mapping[str, Any]) -> None:
        if not client.indices.exists(index=index):
            # 400: another host has just made it.
            client.options(ignore_status=400, request_timeout=MAKING_SECONDS).indices.create(
                index=index, mappings=mappings, settings=SETTINGS
            )

    @contextmanager
    def _asking(self) -> Iterator[Elasticsearch]:
        client = self._client()
        quiet = _asks.set(True)
        try:
            yield client
        except (ApiError, TransportError) as error:
            raise self._unavailable(reason(error, client)) from error
        except (LookupError, TypeError, AttributeError, ValueError) as error:  # an answer of another kind
            raise self._unavailable(f"{self.addresses}: {error}") from error
        finally:
            _asks.reset(quiet)

    def _unavailable(self, why: str) -> FleetUnavailable:
        return FleetUnavailable(f"fleet {self.name}", why, LOCAL)

    def _client(self) -> Elasticsearch:
        """One for the process: connections don't pass a fork."""
        with self._lock:
            client = self._clients.get(os.getpid())
            if client is None:
                client = self._clients[os.getpid()] = _client(self._settings)
            return client


def _client(settings: Settings) -> Elasticsearch:
    hosts = list(settings.elasticsearch_url)
    try:
        return Elasticsearch(
            hosts,
            request_timeout=REQUEST_SECONDS,
            connections_per_node=2,
            max_retries=max(1, len(hosts) - 1),
            retry_on_timeout=len(hosts) > 1,  # a node that hangs is not the cluster
            retry_on_status=(502, 503, 504),
            http_compress=True,  # a thousand routes are a tenth of their size
            **credentials(settings),
            **tls(settings),
        )
    except ValueError as error:
        raise SettingError("ELASTICSEARCH_URL", f"{error}", "Write https://HOST:PORT.") from None


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


_asks: ContextVar[bool] = ContextVar("graft.fleet.asks", default=False)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """What the client says of each try that fails: a cluster that is down for a night would fill the app's log. Whoever
    asked says it once. What others ask with that package is their own."""
    return not _asks.get()


for _name in ("elastic_transport.transport", "elastic_transport.node_pool", "elastic_transport.node"):
    logging.getLogger(_name).addFilter(_is_not_ours)
