"""Whether the portal's parts work, for load balancers and people who watch."""

from __future__ import annotations

import sqlite3

from flask import Blueprint, Response, jsonify

from legacy_flask import database

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> tuple[Response, int]:
    """``{"status", "parts": {name: {"status"}}}``: 200 when all are ok, else 503.

    A catalogue without articles is ``empty``, which is no failure: ``build-catalogue`` has not run yet.
    """
    parts = {"database": _database(), "catalogue": _catalogue()}
    failed = [name for name, part in parts.items() if part["status"] == "failed"]
    response = jsonify(status="failed" if failed else "ok", parts=parts)
    response.headers["Cache-Control"] = "no-store"
    return response, 503 if failed else 200


def _database() -> dict[str, object]:
    try:
        database.get().execute("SELECT count(*) FROM users").fetchone()
    except sqlite3.Error:
        return {"status": "failed"}
    return {"status": "ok"}


def _catalogue() -> dict[str, object]:
    try:
        (articles,) = database.get().execute("SELECT count(*) FROM articles").fetchone()
    except sqlite3.Error:
        return {"status": "failed"}
    return {"status": "ok" if articles else "empty", "articles": articles}
