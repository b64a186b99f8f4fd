"""Native twins of the portal's two JSON routes, in FastAPI. Same paths, same answers, same errors; from Elasticsearch.

``/api/docs`` is the page for them. Parameters are read as Flask reads them (see ``parameters``) and described by hand:
FastAPI's own would take the last of several values, and answer a wrong one with its own 422.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from elasticsearch import AsyncElasticsearch, NotFoundError
from fastapi import Depends, FastAPI, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from async_routes import parameters
from async_routes.documents import ARTICLES, FULL, LISTED, REACH
from async_routes.parameters import BadParameter
from graft.fastapi import Elasticsearch

PER_PAGE = 20
MAX_PER_PAGE = 100

app = FastAPI(
    title="Folio",
    version="1",
    description="What the portal documents, as JSON.",
    openapi_url="/api/openapi.json",
    docs_url="/api/docs",
    redoc_url=None,
)


class Listed(BaseModel):
    """An article in a listing."""

    id: int
    package: str
    version: str
    module: str
    kind: str
    name: str
    title: str
    summary: str


class Article(Listed):
    """The whole of it."""

    signature: str
    text: str
    source: str
    line: int


class Listing(BaseModel):
    articles: list[Listed]
    page: int
    per_page: int
    pages: int
    total: int


class Problem(BaseModel):
    code: str
    message: str


class Refusal(BaseModel):
    """How the portal says no."""

    error: Problem


def window(request: Request) -> tuple[int, int]:
    """``page`` and ``per_page``. Raises BadParameter."""
    page = parameters.number(request, "page", default=1, largest=REACH)
    per_page = parameters.number(request, "per_page", default=PER_PAGE, largest=MAX_PER_PAGE)
    if page * per_page > REACH:
        raise BadParameter(f"page {page} is past the first {REACH} articles. Narrow it down by package and kind.")
    return page, per_page


def filters(request: Request) -> list[dict[str, Any]]:
    wanted = {name: parameters.text(request, name) for name in ("package", "kind")}
    return [{"term": {name: value}} for name, value in wanted.items() if value]


LISTING_PARAMETERS = [
    {"name": name, "in": "query", "schema": schema}
    for name, schema in {
        "page": {"type": "integer", "minimum": 1, "maximum": REACH, "default": 1},
        "per_page": {"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE, "default": PER_PAGE},
        "package": {"type": "string"},
        "kind": {"type": "string"},
    }.items()
]


@app.get("/api/articles", responses={400: {"model": Refusal}}, openapi_extra={"parameters": LISTING_PARAMETERS})
async def listing(
    elasticsearch: Elasticsearch,
    window: Annotated[tuple[int, int], Depends(window)],
    filters: Annotated[list[dict[str, Any]], Depends(filters)],
) -> Listing:
    """A page of the catalogue, in reading order."""
    page, per_page = window
    found = await elasticsearch.search(
        index=ARTICLES,
        query={"bool": {"filter": filters}} if filters else {"match_all": {}},
        sort=[{"position": "asc"}],
        from_=(page - 1) * per_page,
        size=per_page,
        source_includes=LISTED,
        track_total_hits=True,
    )
    total = found["hits"]["total"]["value"]
    articles = [Listed(**hit["_source"]) for hit in found["hits"]["hits"]]
    return Listing(articles=articles, page=page, per_page=per_page, pages=math.ceil(total / per_page), total=total)


@app.get("/api/articles/{id:int}", response_model=Article, responses={404: {"model": Refusal}})
async def article(id: Annotated[int, Path(ge=0)], elasticsearch: Elasticsearch) -> Any:
    """One article, with its text."""
    source = await _source(elasticsearch, id)
    return source if source is not None else _refusal(404, "not_found", f"There is no article {id}.")


@app.exception_handler(BadParameter)
async def refused(request: Request, problem: BadParameter) -> JSONResponse:
    return _refusal(400, "bad_request", str(problem))


async def _source(elasticsearch: AsyncElasticsearch, article_id: int) -> dict[str, Any] | None:
    try:
        found = await elasticsearch.get(index=ARTICLES, id=str(article_id), source_includes=FULL)
    except NotFoundError as error:
        if isinstance(error.body, dict) and error.body.get("found") is False:
            return None
        raise  # the index itself is missing: not the same as an article that is not there
    source: dict[str, Any] = found["_source"]
    return source


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
