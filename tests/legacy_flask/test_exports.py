from __future__ import annotations

import csv
import io
from pathlib import Path

from legacy_flask.blueprints import exports
from tests.legacy_flask.portal import Browser, article_ids


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_export_has_every_article_in_order(browser: Browser, data: Path) -> None:
    answer = browser.get("/export.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == "attachment; filename=articles.csv"
    assert [int(row["id"]) for row in lines(answer.text)] == list(article_ids(data))


def test_the_export_is_narrowed_as_the_pages_are(browser: Browser) -> None:
    assert {row["package"] for row in lines(browser.get("/export.csv?package=json").text)} == {"json"}


def test_the_export_comes_in_pieces(browser: Browser) -> None:
    answer = browser.get("/export.csv", buffered=False)
    pieces = iter(answer.response)
    first = next(pieces)
    assert first.count(b"\r\n") >= exports.ROWS_A_CHUNK
    assert sum(1 for _ in pieces) > 1
    answer.close()


def test_a_reader_who_leaves_does_no_harm(browser: Browser) -> None:
    answer = browser.get("/export.csv", buffered=False)
    next(iter(answer.response))
    answer.close()
    assert browser.get("/").status_code == 200


def test_no_cell_is_a_formula(browser: Browser) -> None:
    (row,) = lines(browser.get("/export.csv?package=hostile").text)
    assert row["summary"] == "'=HYPERLINK(<b>poison</b>)"
