"""Native twins of the portal's two JSON routes. Same paths, same answers, same errors; read from Elasticsearch."""

from __future__ import annotations

import math
from typing import Any

from elasticsearch import AsyncElasticsearch, NotFoundError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from async_routes import parameters
from async_routes.documents import ARTICLES, FULL, LISTED, REACH
from async_routes.parameters import BadParameter

PER_PAGE = 20
MAX_PER_PAGE = 100


async def listing(request: Request) -> JSONResponse:
    try:
        page, per_page = _window(request)
    except BadParameter as problem:
        return _error(400, "bad_request", str(problem))
    found = await request.state.elasticsearch.search(
        index=ARTICLES,
        query=_query(request),
        sort=[{"position": "asc"}],
        from_=(page - 1) * per_page,
        size=per_page,
        source_includes=LISTED,
        track_total_hits=True,
    )
    total = found["hits"]["total"]["value"]
    articles = [hit["_source"] for hit in found["hits"]["hits"]]
    return JSONResponse(
        {
            "articles": articles,
            "page": page,
            "per_page": per_page,
            "pages": math.ceil(total / per_page),
            "total": total,
        }
    )


async def article(request: Request) -> JSONResponse:
    article_id = request.path_params["id"]
    source = await _source(request.state.elasticsearch, article_id)
    if source is None:
        return _error(404, "not_found", f"There is no article {article_id}.")
    return JSONResponse(source)


def _window(request: Request) -> tuple[int, int]:
    page = parameters.number(request, "page", default=1, largest=REACH)
    per_page = parameters.number(request, "per_page", default=PER_PAGE, largest=MAX_PER_PAGE)
    if page * per_page > REACH:
        raise BadParameter(f"page {page} is past the first {REACH} articles. Narrow it down by package and kind.")
    return page, per_page


def _query(request: Request) -> dict[str, Any]:
    wanted = {name: parameters.text(request, name) for name in ("package", "kind")}
    filters = [{"term": {name: value}} for name, value in wanted.items() if value]
    return {"bool": {"filter": filters}} if filters else {"match_all": {}}


async def _source(elasticsearch: AsyncElasticsearch, article_id: int) -> dict[str, Any] | None:
    try:
        found = await elasticsearch.get(index=ARTICLES, id=str(article_id), source_includes=FULL)
    except NotFoundError as error:
        if isinstance(error.body, dict) and error.body.get("found") is False:
            return None
        raise  # the index itself is missing: not the same as an article that is not there
    source: dict[str, Any] = found["_source"]
    return source


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


routes = [
    Route("/api/articles", listing),
    Route("/api/articles/{id:int}", article),
]
