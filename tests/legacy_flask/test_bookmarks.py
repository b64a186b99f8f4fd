from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from tests.legacy_flask.portal import Browser, article_ids, rows


def test_bookmarks_need_an_account(browser: Browser) -> None:
    assert browser.get("/bookmarks").headers["Location"] == "/login?next=/bookmarks"
    browser.token()
    assert browser.post("/bookmarks/7").headers["Location"] == "/login"
    assert "Please sign in first." in browser.get("/login").text


def test_adding_listing_and_removing(reader: Browser, data: Path) -> None:
    first, second, *_ = article_ids(data, "package = 'json'")
    assert reader.post(f"/bookmarks/{first}").headers["Location"] == f"/articles/{first}"
    assert "★ Bookmarked" in reader.get(f"/articles/{first}").text
    reader.post(f"/bookmarks/{second}")
    page = reader.get("/bookmarks").text
    assert page.index(f'"/articles/{second}"') < page.index(f'"/articles/{first}"')  # the newest first
    assert f'"/articles/{second}"' in reader.get("/").text
    assert reader.post(f"/bookmarks/{first}/delete").headers["Location"] == "/bookmarks"
    page = reader.get("/bookmarks").text
    assert "Bookmark removed." in page
    assert f'"/articles/{first}"' not in page


def test_a_second_bookmark_of_the_same_article_changes_nothing(reader: Browser, data: Path) -> None:
    reader.post("/bookmarks/7")
    reader.post("/bookmarks/7")
    assert "You have this bookmark already." in reader.get("/bookmarks").text
    assert len(rows(data, "SELECT * FROM bookmarks")) == 1


def test_a_form_leads_back_to_its_page_and_to_no_other_site(reader: Browser) -> None:
    assert reader.post("/bookmarks/7", {"next": "/articles/7"}).headers["Location"] == "/articles/7"
    assert reader.post("/bookmarks/7", {"next": "//evil.example"}).headers["Location"] == "/"


@pytest.mark.parametrize("number", [1, 2**63, 10**40])
def test_what_is_not_in_the_catalogue_cannot_be_bookmarked(reader: Browser, number: int) -> None:
    assert reader.post(f"/bookmarks/{number}").status_code == 404
    assert reader.post(f"/bookmarks/{number}/delete").status_code == 302
    assert "There was no such bookmark." in reader.get("/").text


def test_each_person_has_bookmarks_of_their_own(app: Flask, reader: Browser, data: Path) -> None:
    reader.post("/bookmarks/7")
    other = Browser(app)
    other.register("theo")
    assert "None yet" in other.get("/bookmarks").text
    other.post("/bookmarks/7/delete")
    assert len(rows(data, "SELECT * FROM bookmarks")) == 1


def test_visitors_see_what_is_bookmarked_but_not_by_whom(app: Flask, reader: Browser) -> None:
    reader.post("/bookmarks/7")
    page = Browser(app).get("/").text
    assert '"/articles/7"' in page
    assert "marta" not in page


def test_a_bookmark_outlives_its_article(reader: Browser, data: Path) -> None:
    reader.post("/bookmarks/7")
    rows(data, "DELETE FROM articles WHERE id = 7")
    page = reader.get("/bookmarks").text
    assert "Not in the catalogue now" in page
    assert "hostile" in page
    assert reader.get("/").status_code == 200
