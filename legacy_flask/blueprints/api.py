"""The catalogue as JSON."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, request

from legacy_flask import articles, database

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.get("/articles")
def listing() -> Response:
    try:
        number, size = articles.window(request.args)
    except articles.BadParameter as problem:
        abort(400, str(problem))
    filters = articles.Filters(request.args.get("package", ""), request.args.get("kind", ""))
    page = articles.listing(database.get(), filters, number, size)
    return jsonify(articles=page.articles, page=page.page, per_page=page.per_page, pages=page.pages, total=page.total)


@blueprint.get("/articles/<int:article_id>")
def article(article_id: int) -> Response:
    found = articles.find(database.get(), article_id)
    if found is None:
        abort(404, f"There is no article {article_id}.")
    return jsonify(found)
