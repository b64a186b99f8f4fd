"""Calls of Elasticsearch as metrics: how many, how they ended, how long they took."""

from __future__ import annotations

import time
from typing import Any

from elastic_transport import AsyncTransport, ConnectionTimeout
from elasticsearch import AsyncElasticsearch

from graft.figures.prometheus import REGISTRY, Counter, Histogram
from graft.figures.route_metrics import BUCKETS

_calls = Counter(
    "graft_elasticsearch_calls",
    "Calls of Elasticsearch, by outcome: a status class, timeout, unreachable, cancelled.",
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


def counted(client: AsyncElasticsearch) -> AsyncElasticsearch:
    """The same client, its calls and those of all its ``options()`` counted."""
    transport: AsyncTransport = client.transport

    async def perform_request(method: str, *args: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        outcome = "cancelled"
        try:
            # Looked up at each call: the fence puts a method of its own into the class, at the first mirrored run.
            answer = await type(transport).perform_request(transport, method, *args, **options)
            outcome = f"{answer.meta.status // 100}xx"
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
