"""The pages that everybody reads: home, browse, article, about."""

from __future__ import annotations

import platform
import sys

from flask import Blueprint, abort, current_app, g, render_template, request

from legacy_flask import articles, bookmarks, database
from legacy_flask.catalogue import INSTALLED
from legacy_flask.passages import Kind

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def home() -> str:
    connection = database.get()
    built = articles.built(connection)
    if built is None:
        return render_template("empty.html")
    packages = articles.package_counts(connection)
    return render_template(
        "home.html",
        built=built,
        installed=[row for row in packages if row["package"] in INSTALLED],
        standard=[row for row in packages if row["package"] not in INSTALLED],
        kinds=articles.kind_counts(connection),
        latest=bookmarks.latest(connection, g.user["id"] if g.user else None),
    )


@blueprint.get("/browse")
def browse() -> str:
    connection = database.get()
    if articles.built(connection) is None:
        return render_template("empty.html")
    filters = articles.Filters.of(request.args)
    try:
        page = articles.listing(connection, filters, *articles.window(request.args))
    except articles.BadParameter as problem:
        abort(400, str(problem))
    packages = articles.package_counts(connection)
    return render_template("browse.html", page=page, filters=filters, packages=packages, kinds=list(Kind))


@blueprint.get("/articles/<int:article_id>")
def article(article_id: int) -> str:
    connection = database.get()
    found = articles.find(connection, article_id)
    if found is None:
        abort(404, "This article is not in the catalogue.")
    before, after = articles.neighbours(connection, article_id)
    return render_template(
        "article.html",
        article=found,
        before=before,
        after=after,
        siblings=articles.siblings(connection, found["module"]),
        is_bookmarked=g.user is not None and bookmarks.has(connection, g.user["id"], article_id),
    )


@blueprint.get("/about")
def about() -> str:
    return render_template(
        "about.html",
        built=articles.built(database.get()),
        python=platform.python_version(),
        platform=sys.platform,
        data=current_app.config["PORTAL_DATA"].name,
        request_number=g.request_number,
    )
