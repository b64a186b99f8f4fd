"""Differences: what two answers differed in, kept in Elasticsearch, redacted, the newest 100 of each route.

Written in batches off everybody's path: an Elasticsearch that is slow or gone costs some memory for the newest few
hundred, and those in the end, but never a request. Only plain calls are used (bulk, search, sort), which the embedded
engine and every cluster have.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError, TransportError

from graft.mirroring.answers import Answer
from graft.mirroring.bodies import decoded
from graft.mirroring.compare import signature
from graft.mirroring.ending import end
from graft.mirroring.mirror import LARGE, Mirrored
from graft.mirroring.redact import GONE, Redactor
from graft.types import RouteKey

INDEX = "graft-differences"
KEPT = 100
"""Differences of one route."""

PENDING = 500
"""Differences of this process that wait to be written; of more, the newest stay."""

A_ROUND = 20
"""Differences of one route that are taken in between two writes: more of the same would only cost."""

_SECONDS = 1.0
_PATIENCE = 6.0
"""Seconds that the last write may take: a little more than its requests have."""

_SHOWN = 8 * 1024
_MAPPINGS = {
    "dynamic": False,
    "properties": {
        "kind": {"type": "keyword"},
        "route": {"type": "keyword"},
        "group": {"type": "keyword", "ignore_above": 1000},
        "at": {"type": "date"},
        "detail": {"type": "object", "enabled": False},
    },
}

logger = logging.getLogger(__name__)


@dataclass
class Group:
    """What differs in the same way, on one route. ``newest`` first."""

    route: RouteKey
    what: str
    newest: list[dict[str, Any]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.newest)


class Differences:
    """``async with Differences(client)`` keeps and writes; for reading alone it need not be entered."""

    def __init__(self, client: AsyncElasticsearch, *, every: float = _SECONDS) -> None:
        self._client = client.options(request_timeout=5)
        self._every = every
        self._pending: deque[dict[str, Any]] = deque(maxlen=PENDING)
        self._round: Counter[RouteKey] = Counter()
        self._noise: dict[str, dict[str, Any]] = {}
        self._made = False
        self._failing = False
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Differences:
        self._writer = asyncio.create_task(self._write(), name="graft-differences")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._closing.set()
            await asyncio.wait([self._writer], timeout=_PATIENCE)
            await end([self._writer])

    # Keeping

    async def keep(self, mirrored: Mirrored) -> None:
        """Take in one difference, to be written within a second or so. Never raises, never waits for Elasticsearch."""
        self._round[mirrored.key] += 1
        if self._round[mirrored.key] > A_ROUND:
            return
        try:
            if len(mirrored.native.body) + len(mirrored.legacy.body) + len(mirrored.body) < LARGE:
                document = document_of(mirrored)
            else:
                document = await asyncio.to_thread(document_of, mirrored)
        except Exception:
            logger.exception("a difference of %s could not be kept", mirrored.key)
            return
        self._pending.append(document)

    async def learned(self, key: RouteKey, noise: frozenset[str]) -> None:
        """Take in what was learned to be noise of a route."""
        for what in noise:
            name = hashlib.blake2b(f"{key}\n{what}".encode(), digest_size=12).hexdigest()
            self._noise[name] = {"kind": "noise", "route": str(key), "group": what[:1000], "at": _now()}

    async def flush(self) -> None:
        """Write what has been taken in. What can't be written is tried again with the next one."""
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        self._round.clear()
        pending, noise = list(self._pending), dict(self._noise)
        if not pending and not noise:
            return
        try:
            await self._make()
            await self._trim({document["route"] for document in pending})
            operations: list[dict[str, Any]] = []
            for document in pending:
                operations += ({"index": {}}, document)
            for name, document in noise.items():
                operations += ({"index": {"_id": name}}, document)
            await self._client.bulk(index=INDEX, operations=operations)
        except (ApiError, TransportError) as error:
            self._complain(error)
            return
        self._failing = False
        for document in pending:
            if self._pending and self._pending[0] is document:
                self._pending.popleft()
        for name in noise:
            self._noise.pop(name, None)

    async def _write(self) -> None:
        """Until the end, and once more then: what was taken in last is written as well."""
        ending = False
        while not ending:
            ending = self._closing.is_set()
            try:
                await self.flush()
            except Exception:
                logger.exception("differences could not be written")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every)

    async def _make(self) -> None:
        if not self._made:
            await self._client.options(ignore_status=400).indices.create(
                index=INDEX, mappings=_MAPPINGS, settings={"number_of_replicas": 0, "number_of_shards": 1}
            )
            self._made = True

    async def _trim(self, routes: Iterable[str]) -> None:
        """Delete all but the newest. It sees what was written some time ago, so for a while there are a few more."""
        for route in routes:
            found = await self._client.search(
                index=INDEX,
                query=_of_route(route),
                sort=[{"at": "desc"}],
                from_=KEPT - A_ROUND,
                size=1000,
                source=False,
            )
            old = [{"delete": {"_id": hit["_id"]}} for hit in found["hits"]["hits"]]
            if old:
                await self._client.bulk(index=INDEX, operations=old)

    def _complain(self, error: Exception) -> None:
        if not self._failing:
            logger.warning("Differences can't be written now; the newest %d wait: %s", PENDING, error)
        self._failing = True

    # Reading

    async def groups(self, route: RouteKey | None = None) -> list[Group]:
        """What differs, of one route or of all, the most frequent first. Raises the client's own errors."""
        groups: dict[tuple[str, str], Group] = {}
        for document in await self._found("difference", route, 1000 if route is None else KEPT):
            name = document["route"], document["group"]
            group = groups.setdefault(name, Group(RouteKey.parse(name[0]), name[1]))
            group.newest.append(document["detail"])
        return sorted(groups.values(), key=lambda group: -group.count)

    async def noise(self, route: RouteKey | None = None) -> dict[RouteKey, list[str]]:
        """What was learned to be noise, by route. Raises the client's own errors."""
        noise: dict[RouteKey, list[str]] = {}
        for document in await self._found("noise", route, 1000):
            noise.setdefault(RouteKey.parse(document["route"]), []).append(document["group"])
        return noise

    async def _found(self, kind: str, route: RouteKey | None, size: int) -> list[dict[str, Any]]:
        filters = [{"term": {"kind": kind}}, *([{"term": {"route": str(route)}}] if route else [])]
        try:
            found = await self._client.search(
                index=INDEX, query={"bool": {"filter": filters}}, sort=[{"at": "desc"}], size=size
            )
        except NotFoundError:
            return []
        return [hit["_source"] for hit in found["hits"]["hits"]]


def as_data(groups: list[Group], noise: dict[RouteKey, list[str]], last: int) -> dict[str, Any]:
    """What ``graft differences --json`` and ``/_graft/api/differences`` say: ``last`` examples of each group."""
    return {
        "differences": [
            {"route": str(group.route), "what": group.what, "count": group.count, "newest": group.newest[:last]}
            for group in groups
        ],
        "noise": {str(key): sorted(learned) for key, learned in noise.items()},
    }


def _of_route(route: str) -> dict[str, Any]:
    return {"bool": {"filter": [{"term": {"kind": "difference"}}, {"term": {"route": route}}]}}


def document_of(mirrored: Mirrored) -> dict[str, Any]:
    """One difference as it is stored: redacted, long bodies cut."""
    return {
        "kind": "difference",
        "route": str(mirrored.key),
        "group": (mirrored.note or signature(mirrored.differences))[:1000],
        "at": (at := _now()),
        "detail": {"at": at, **_Detail(mirrored).written()},
    }


class _Detail:
    """The part of a document that is for people."""

    def __init__(self, mirrored: Mirrored) -> None:
        self._mirrored = mirrored
        self._redactor = redactor = Redactor.of(mirrored.switch.redact)
        query = mirrored.scope["query_string"].decode("latin-1")
        secrets = redactor.secrets(tuple(mirrored.scope["headers"]), query, mirrored.body)
        for answer in (mirrored.native, mirrored.legacy):
            secrets |= redactor.secrets(answer.headers, "", answer.body)
        self._secrets = sorted(secrets, key=len, reverse=True)

    def written(self) -> dict[str, Any]:
        mirrored = self._mirrored
        written = {
            "note": mirrored.note,
            "request_id": mirrored.scope.get("state", {}).get("request_id"),
            "answered_by": mirrored.answered_by,
            "differences": [
                {
                    "where": each.where,
                    "change": each.change,
                    "native": self._redactor.at(each.path, each.native),
                    "legacy": self._redactor.at(each.path, each.legacy),
                }
                for each in mirrored.differences
            ],
            "request": self._request(),
            "native": self._answer(mirrored.native),
            "legacy": self._answer(mirrored.legacy),
        }
        scrubbed: dict[str, Any] = self._scrubbed(written)
        return scrubbed

    def _request(self) -> dict[str, Any]:
        scope = self._mirrored.scope
        query = scope["query_string"].decode("latin-1")
        headers = tuple(scope["headers"])
        return {
            "method": scope["method"],
            "url": scope["path"] + (f"?{self._redactor.query(query)}" if query else ""),
            "headers": self._redactor.headers(headers),
            "body": self._body(self._mirrored.body, dict(headers).get(b"content-type", b"")),
        }

    def _answer(self, answer: Answer) -> dict[str, Any]:
        return {
            "status": answer.status,
            "headers": self._redactor.headers(answer.headers),
            "body": self._body(decoded(answer), answer.header(b"content-type") or b""),
            "latency_ms": round(answer.latency_ms, 3),
            "error": None if answer.error is None else self._redactor.text(answer.error),
        }

    def _body(self, body: bytes, content_type: bytes) -> str:
        return self._redactor.body(body, content_type.decode("latin-1"))

    def _scrubbed(self, value: Any) -> Any:
        """Without the values that are known to be secret, wherever they are; then long texts are cut."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, GONE)
            return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}... ({len(value)} characters)"
        if isinstance(value, dict):
            return {name: self._scrubbed(item) for name, item in value.items()}
        return [self._scrubbed(item) for item in value] if isinstance(value, list) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
