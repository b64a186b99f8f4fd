"""Suggestions while one types, from Elasticsearch: the first async view that the team wrote.

The client lives at module level, as the library's own examples have it. Its connections belong to the event loop of the
first request. Flask gives every request of an async view an event loop of its own, so that under a stock server the
second request ends in "Event loop is closed".
"""

from __future__ import annotations

import os

from elasticsearch import ApiError, AsyncElasticsearch, TransportError
from flask import Blueprint, Response, abort, jsonify, request

blueprint = Blueprint("suggest", __name__)

HOSTS = [host.strip() for host in os.environ.get("ELASTICSEARCH_URL", "").split(",") if host.strip()]
SECONDS = 2.0
LONGEST = 200

client = AsyncElasticsearch(HOSTS or ["http://127.0.0.1:9200"], request_timeout=SECONDS, max_retries=0)


@blueprint.get("/api/suggest")
async def suggest() -> Response:
    """``{"query", "available", "suggestions": [{"id", "title", "kind"}]}``. Without a server there are none."""
    query = request.args.get("q", "").strip()
    if not 1 <= len(query) <= LONGEST:
        abort(400, f"q must have 1 to {LONGEST} characters.")
    try:
        found = await client.search(
            index="articles",
            query={"multi_match": {"query": query, "fields": ["title", "words"]}},
            source_includes=["title", "kind"],
            size=8,
        )
    except (TransportError, ApiError):
        return jsonify(query=query, available=False, suggestions=[])
    suggestions = [{"id": int(hit["_id"]), **hit["_source"]} for hit in found["hits"]["hits"]]
    return jsonify(query=query, available=True, suggestions=suggestions)
