"""Bookmarks: list, add, remove."""

from __future__ import annotations

from flask import Blueprint, Response, abort, flash, g, redirect, render_template, request, url_for

from legacy_flask import articles, bookmarks, database
from legacy_flask.security import login_required, safe_next

blueprint = Blueprint("bookmarks", __name__)


@blueprint.get("/bookmarks")
@login_required
def listing() -> str:
    return render_template("bookmarks.html", bookmarks=bookmarks.of(database.get(), g.user["id"]))


@blueprint.post("/bookmarks/<int:article_id>")
@login_required
def add(article_id: int) -> Response:
    article = articles.find(database.get(), article_id)
    if article is None:
        abort(404, "This article is not in the catalogue.")
    is_new = bookmarks.add(database.get(), g.user["id"], article)
    flash("Bookmark added." if is_new else "You have this bookmark already.", "success" if is_new else "info")
    return _back(url_for("pages.article", article_id=article_id))


@blueprint.post("/bookmarks/<int:article_id>/delete")
@login_required
def remove(article_id: int) -> Response:
    known = article_id <= articles.LARGEST_ID and bookmarks.remove(database.get(), g.user["id"], article_id)
    flash("Bookmark removed." if known else "There was no such bookmark.", "success" if known else "info")
    return _back(url_for("bookmarks.listing"))


def _back(default: str) -> Response:
    wanted = request.form.get("next")
    return redirect(safe_next(wanted) if wanted else default)  # type: ignore[return-value]
