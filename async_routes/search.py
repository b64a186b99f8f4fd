"""Search over the articles: a page for people and JSON for programs, both from one question to Elasticsearch."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from elasticsearch import ApiError, NotFoundError, TransportError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from async_routes import parameters
from async_routes.documents import ARTICLES, LISTED, MAPPINGS, REACH, documents
from async_routes.parameters import BadParameter
from graft.search.indexing import Index
from legacy_flask.hooks import SECURITY_HEADERS

log = logging.getLogger(__name__)

indexes = [Index(ARTICLES, mappings=MAPPINGS, documents=documents)]

PER_PAGE = 20
LONGEST_QUERY = 200
RANKED = ["title", "words^2", "text^1.5"]  # tried on a dozen questions: more weight on titles favours argument names
FACETS = {"package": 60, "kind": 10}  # how many values of each are counted


@dataclass(frozen=True)
class Question:
    """What somebody looks for."""

    text: str
    package: str
    kind: str
    page: int

    @classmethod
    def of(cls, request: Request) -> Question:
        """Raises BadParameter."""
        text = (parameters.text(request, "q") or "").strip()
        if not 1 <= len(text) <= LONGEST_QUERY:
            raise BadParameter(f"q must have 1 to {LONGEST_QUERY} characters.")
        return cls(
            text,
            parameters.text(request, "package") or "",
            parameters.text(request, "kind") or "",
            parameters.number(request, "page", default=1, largest=REACH // PER_PAGE),
        )

    def filters(self) -> list[dict[str, Any]]:
        return [{"term": {name: getattr(self, name)}} for name in FACETS if getattr(self, name)]

    def address(self, prefix: str, **changes: Any) -> str:
        """The search page with some of the parameters changed; on its first page where that is not one of them."""
        values = {"q": self.text, "package": self.package, "kind": self.kind, "page": 1, **changes}
        query = {name: value for name, value in values.items() if value and (name, value) != ("page", 1)}
        return f"{prefix}/search?{urlencode(query)}"


async def api(request: Request) -> JSONResponse:
    try:
        question = Question.of(request)
    except BadParameter as problem:
        error = {"code": "bad_parameter", "message": str(problem), "request_id": request.state.request_id}
        return JSONResponse({"error": error}, 400)
    return JSONResponse(await _answer(request, question))


async def page(request: Request) -> Response:
    asked = (parameters.text(request, "q") or "").strip()
    if not asked:
        return await _page(request, text="")
    try:
        question = Question.of(request)
        answer = await _answer(request, question)
    except BadParameter:
        long = len(asked) > LONGEST_QUERY
        problem = f"Please ask in up to {LONGEST_QUERY} characters." if long else "There is no such page of results."
        return await _page(request, 400, text=asked[:LONGEST_QUERY], problem=problem)
    except (TransportError, ApiError) as error:
        log.warning("search for %r failed: %s", question.text, error)
        missing = isinstance(error, NotFoundError)
        problem = "The search index has not been built yet." if missing else "The search does not answer at the moment."
        return await _page(request, 503, text=question.text, problem=problem)

    def address(**changes: Any) -> str:
        return question.address(_prefix(request), **changes)

    return await _page(request, text=question.text, question=question, answer=answer, address=address)


async def _page(request: Request, status: int = 200, **context: Any) -> Response:
    """The portal's own page, as Flask renders it for whoever is signed in, with the headers that all its pages have."""
    response: Response = await request.state.legacy.render(request, "search.html", **context)
    response.status_code = status
    response.headers.update(SECURITY_HEADERS)
    return response


async def _answer(request: Request, question: Question) -> dict[str, Any]:
    found = await request.state.elasticsearch.search(
        index=ARTICLES,
        query={"multi_match": {"query": question.text, "fields": RANKED, "type": "most_fields"}},
        # After the facets are counted, so that they go on showing what the other choices would find.
        post_filter={"bool": {"filter": question.filters()}},
        aggs={name: {"terms": {"field": name, "size": size}} for name, size in FACETS.items()},
        highlight={
            "encoder": "html",  # text from documents comes back escaped, with our marks in it
            "pre_tags": ["<mark>"],
            "post_tags": ["</mark>"],
            "fields": {"title": {"number_of_fragments": 0}, "text": {"number_of_fragments": 2, "fragment_size": 160}},
        },
        sort=["_score", {"position": "asc"}],
        from_=(question.page - 1) * PER_PAGE,
        size=PER_PAGE,
        source_includes=LISTED,
        track_total_hits=True,
    )
    total = found["hits"]["total"]["value"]
    return {
        "query": question.text,
        "package": question.package,
        "kind": question.kind,
        "page": question.page,
        "per_page": PER_PAGE,
        "pages": min(math.ceil(total / PER_PAGE), REACH // PER_PAGE),
        "total": total,
        "took": found["took"],
        # Where a part of the cluster is down it answers all the same, for the rest.
        "partial": found["_shards"]["failed"] > 0 or found["timed_out"],
        "results": [_result(hit, _prefix(request)) for hit in found["hits"]["hits"]],
        "facets": {name: _facet(found["aggregations"][name]) for name in FACETS},
    }


def _result(hit: dict[str, Any], prefix: str) -> dict[str, Any]:
    """One article. ``highlights`` is HTML, by field: escaped text with ``<mark>`` around what was found."""
    source = hit["_source"]
    return {
        **source,
        "url": f"{prefix}/articles/{source['id']}",
        "score": hit["_score"],
        "highlights": hit.get("highlight", {}),
    }


def _facet(aggregation: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"value": bucket["key"], "count": bucket["doc_count"]} for bucket in aggregation["buckets"]]


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


routes = [
    Route("/search", page),
    Route("/api/search", api),
]
