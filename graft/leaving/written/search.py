"""The one Elasticsearch client of a worker, from the environment: ``ELASTICSEARCH_URL`` and the credentials beside it.

Without ``ELASTICSEARCH_URL`` it is the engine in the folder ``embedded_elasticsearch``, over a file in ``DATA``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch

SECONDS = 2.5


def open_client() -> AsyncElasticsearch:
    """Nothing is connected before the first request; ``async with`` closes it."""
    hosts = [host.strip() for host in os.environ.get("ELASTICSEARCH_URL", "").split(",") if host.strip()]
    if not hosts:
        from embedded_elasticsearch import connect

        data = Path(os.environ.get("DATA", "var"))
        data.mkdir(parents=True, exist_ok=True)
        return connect(data / "search.sqlite3", request_timeout=SECONDS)
    return AsyncElasticsearch(
        hosts,
        request_timeout=SECONDS,
        connections_per_node=64,
        max_retries=max(1, len(hosts) - 1),
        retry_on_status=(502, 503, 504),
        **_credentials(),
    )


def _credentials() -> dict[str, Any]:
    found: dict[str, Any] = {}
    if key := os.environ.get("ELASTICSEARCH_API_KEY"):
        found["api_key"] = key
    elif user := os.environ.get("ELASTICSEARCH_USERNAME"):
        found["basic_auth"] = (user, os.environ.get("ELASTICSEARCH_PASSWORD", ""))
    if certificates := os.environ.get("ELASTICSEARCH_CA_CERTS"):
        found["ca_certs"] = certificates
    return found
