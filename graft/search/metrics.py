"""Calls of Elasticsearch: how many, how they ended and how long they took as metrics, and what the log has to know.

A search of which some shards failed is answered with 200 and what the others have. That is an outcome of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from elastic_transport import AsyncTransport, ConnectionTimeout
from elasticsearch import AsyncElasticsearch

from graft.figures.prometheus import REGISTRY, Counter, Histogram
from graft.figures.route_metrics import BUCKETS
from graft.search.second_try import perform

_calls = Counter(
    "graft_elasticsearch_calls",
    "Calls of Elasticsearch, by outcome: a status class, partial, timeout, unreachable, cancelled.",
    ("method", "outcome"),
    registry=REGISTRY,
)
_seconds = Histogram(
    "graft_elasticsearch_seconds",
    "Time that calls of Elasticsearch took, with their retries.",
    ("method",),
    buckets=BUCKETS,
    registry=REGISTRY,
)

PARTIAL_SECONDS = 60.0
"""The log tells of answers for a part of the data at most so often."""

log = logging.getLogger("graft.search")


def counted(client: AsyncElasticsearch) -> AsyncElasticsearch:
    """The same client, its calls and those of all its ``options()`` counted."""
    transport: AsyncTransport = client.transport
    partial_at = float("-inf")

    async def perform_request(method: str, target: str, *args: Any, **options: Any) -> Any:
        nonlocal partial_at
        begun = time.perf_counter()
        outcome = "cancelled"
        try:
            answer = await perform(transport, method, target, *args, **options)
            outcome = f"{answer.meta.status // 100}xx"
            if (failed := failed_shards(answer.body)) is not None and outcome == "2xx":
                outcome = "partial"
                if begun >= partial_at + PARTIAL_SECONDS:
                    partial_at = begun
                    node, path = answer.meta.node, target.partition("?")[0]
                    where = f"Elasticsearch at {node.scheme}://{node.host}:{node.port}"
                    log.warning("%s answered %s for a part of the data only: %s", where, path, failed)
        except ConnectionTimeout:
            outcome = "timeout"
            raise
        except Exception:
            outcome = "unreachable"
            raise
        finally:
            _calls.labels(method, outcome).inc()
            _seconds.labels(method).observe(time.perf_counter() - begun)
        return answer

    # Each ``options()`` makes another client over this one transport.
    transport.perform_request = perform_request  # type: ignore[method-assign]
    return client


def failed_shards(body: Any) -> str | None:
    """How many shards failed and why, of an answer that speaks for the others alone; None where all have answered."""
    shards = body.get("_shards") if isinstance(body, Mapping) else None
    if not isinstance(shards, Mapping) or not shards.get("failed"):
        return None
    first: Mapping[str, Any] = next(iter(shards.get("failures") or ()), {})
    cause = first.get("reason") or {}
    reason = cause.get("reason") or cause.get("type") or "no copy of them is there"
    return f"{shards['failed']} of {shards.get('total')} shards failed: {' '.join(str(reason).split())[:200]}"
