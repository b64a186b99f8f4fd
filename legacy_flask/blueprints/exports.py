"""The catalogue as CSV, streamed row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from flask import Blueprint, Response, request, stream_with_context

from legacy_flask import articles, database

blueprint = Blueprint("exports", __name__)

COLUMNS = ("id", "package", "version", "module", "kind", "name", "title", "summary", "source", "line")
ROWS_A_CHUNK = 100


@blueprint.get("/export.csv")
def export() -> Response:
    filters = articles.Filters.of(request.args)
    return Response(
        stream_with_context(_lines(filters)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": "attachment; filename=articles.csv"},
    )


def _lines(filters: articles.Filters) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for number, row in enumerate(articles.every(database.get(), filters), start=1):
        writer.writerow([_harmless(row[column]) for column in COLUMNS])
        if number % ROWS_A_CHUNK == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _harmless(value: object) -> object:
    """A spreadsheet takes text that begins like this for a formula, and runs it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
